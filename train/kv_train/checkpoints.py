"""Checkpoints that can be trusted after a kill, of a training that is worth going on with."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from kv_tasks import console
from kv_tasks.errors import RunError
from kv_tasks.files import write_text
from kv_train.processes import Processes

MARK = "complete"
# A gradient may be lost where the loss is not: an attention kernel's backward, say.
_FINITE = {"loss": "loss", "grad_norm": "gradient's norm", "eval_loss": "held-out loss"}


class MarkComplete(TrainerCallback):  # type: ignore[misc]
    """Mark every checkpoint once all its files are written, by all processes."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Write the mark into the checkpoint that was just saved."""
        self._processes.wait()
        if self._processes.main:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            write_text(folder / MARK, json.dumps(_sizes(folder), sort_keys=True))


class RefuseNaN(TrainerCallback):  # type: ignore[misc]
    """Stop a training whose loss or gradient is not finite: it can learn nothing from there on."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Look at every logged loss and gradient, before a checkpoint of them is saved."""
        for key, name in _FINITE.items():
            if not math.isfinite(found := (logs or {}).get(key, 0.0)):
                mend = (
                    "delete the folder and train with a lower training.learning_rate"
                    if state.global_step
                    else "the base model itself gives it; try another training.precision"
                )
                raise RunError(
                    f"{args.output_dir}: the {name} is {found} at step {state.global_step}; {mend}"
                )


def disk_needed(trained: int) -> int:
    """Return the bytes that a training of ``trained`` weights takes up at most.

    Weights and the optimizer's two moments in fp32, in three checkpoints: the oldest of them goes
    once the newest is written. The adapter itself comes when there are two.
    """
    return trained * 4 * 3 * 3


def last_complete(work: Path) -> str | None:
    """Return the newest whole checkpoint of a work folder, and delete the others.

    Files that are not as long as the mark says, as a power cut leaves them, are not whole.
    """
    whole: dict[int, Path] = {}
    for folder in work.glob("checkpoint-*"):
        marked = (folder / MARK).is_file()
        if marked and _as_marked(folder):
            whole[int(folder.name.removeprefix("checkpoint-"))] = folder
            continue
        if marked:
            console.warn(f"{folder}: damaged; going on from the one before it, if any")
        shutil.rmtree(folder)
    return str(whole[max(whole)]) if whole else None


def _as_marked(folder: Path) -> bool:
    """Say whether a checkpoint's files are there and as long as when it was saved."""
    text = (folder / MARK).read_text(encoding="utf-8", errors="replace")
    try:
        sizes = json.loads(text)
    except ValueError:
        return False
    found = _sizes(folder)
    return isinstance(sizes, dict) and all(found.get(name) == size for name, size in sizes.items())


def _sizes(folder: Path) -> dict[str, int]:
    """Return the bytes of each file of a checkpoint, but for the mark."""
    files = (file for file in folder.rglob("*") if file.is_file() and file.name != MARK)
    return {str(file.relative_to(folder)): file.stat().st_size for file in files}
