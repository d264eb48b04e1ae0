"""Checkpoints that can be trusted after a kill: the mark of completeness is written last."""

import shutil
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

MARK = "complete"


class MarkComplete(TrainerCallback):  # type: ignore[misc]
    """Mark every checkpoint once all its files are written."""

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Write the mark into the checkpoint that was just saved."""
        (Path(args.output_dir) / f"checkpoint-{state.global_step}" / MARK).touch()


def last_complete(work: Path) -> str | None:
    """Return the newest whole checkpoint of a work folder, and delete half-written ones."""
    whole: dict[int, Path] = {}
    for folder in work.glob("checkpoint-*"):
        if (folder / MARK).is_file():
            whole[int(folder.name.removeprefix("checkpoint-"))] = folder
        else:
            shutil.rmtree(folder)
    return str(whole[max(whole)]) if whole else None
