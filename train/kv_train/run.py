"""Run a recipe: data, tokens, LoRA, training, adapter folder.

Work in progress lies in ``<out>.partial``: rows, checkpoints and the identity of the training
they belong to. The same command goes on from there after a kill; the finished folder appears
whole.
"""

import gc
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging as transformers_logging

from kv_tasks import console
from kv_tasks.errors import KVError, RunError
from kv_tasks.files import write_text
from kv_train import adapter
from kv_train.alone import alone
from kv_train.building import build, finish_reports
from kv_train.checkpoints import disk_needed, last_complete
from kv_train.models import (
    base_checksum,
    check_revision,
    public_name,
    resolve_model,
    resolved_revision,
    tokenizer_checksum,
)
from kv_train.precision import settled, warn_of_emulation, warn_of_idle_gpu
from kv_train.prepare import prepare, refuse_shares, rows_of, write_rows
from kv_train.processes import Processes
from kv_train.progress import ProgressLine
from kv_train.recipe import Recipe
from kv_train.recipe_files import dump_deciding
from kv_train.trainer import AnswerTrainer

MARK = "identity"
LOGGED = ("step", "epoch", "loss", "answer_loss", "divergence", "grad_norm", "learning_rate")


def run(recipe: Recipe, out: Path, *, overwrite: bool = False) -> Path:
    """Train the recipe's adapter and return its folder.

    Args:
        recipe: what to do.
        out: the adapter folder; an identical training that is finished there is reused.
        overwrite: replace a finished folder of another training.

    Raises:
        RunError: ``out`` holds something else, or ``<out>.partial`` belongs to another run.
        ModelError, DataError: the model cannot be trained, or a row does not fit.
    """
    # What a link leads to is made and replaced, not the link.
    out = out.resolve() if out.is_symlink() else out
    check_revision(recipe.model, recipe.revision)
    warn_of_idle_gpu()
    warn_of_emulation(recipe)
    recipe = settled(recipe)
    transformers_logging.disable_progress_bar()
    # What it warns of while training (orders of checkpoint folders, say) helps nobody.
    transformers_logging.set_verbosity_error()
    processes = Processes()
    if processes.count > 1:
        console.note(f"{processes.count} processes train together")
    refuse_shares(recipe, processes.count)
    folder = Path(processes.decide(lambda: str(resolve_model(recipe.model, recipe.revision))))
    work = out.with_name(f"{out.name}.partial")
    with ExitStack() as held:
        job = processes.decide(lambda: _begin(recipe, folder, out, work, overwrite, held))
        if job is None:
            return out
        return _made(recipe, folder, out, work, job, processes, overwrite)


def _made(
    recipe: Recipe,
    folder: Path,
    out: Path,
    work: Path,
    job: adapter.Job,
    processes: Processes,
    overwrite: bool,
) -> Path:
    """Train in the work folder and leave the adapter in ``out``."""
    try:
        prepared = prepare(recipe, folder, work, processes=processes.count)
        with _full_memory_named(work):
            trainer = build(recipe, folder, prepared, work, processes)
        _check_space(work, trainer)
    except KVError:
        # Nothing is trained yet, so nothing is lost; steps of an earlier attempt stay.
        if processes.main and not any(work.glob("checkpoint-*")):
            shutil.rmtree(work)
        raise
    _train(trainer, processes.decide(lambda: last_complete(work)))
    finish_reports(recipe)
    trainer.save_model(str(work / "final"))
    log = _log_lines(trainer.state.log_history)
    del trainer
    # In bf16 accelerate makes model and forward refer to each other: the next seed's model would
    # find this one still in memory.
    gc.collect()
    if processes.main:
        if overwrite and out.exists():
            # Not before: a training that fails leaves the old adapter as it was.
            shutil.rmtree(out)
        adapter.assemble(out, work, job, recipe, log)
        shutil.rmtree(work)
    processes.wait()
    return out


def _begin(
    recipe: Recipe, folder: Path, out: Path, work: Path, overwrite: bool, held: ExitStack
) -> adapter.Job | None:
    """Claim the work folder and write the rows; None where the training is finished."""
    hub_name = public_name(recipe.model)
    revision = resolved_revision(folder) or recipe.revision
    base = adapter.Base(recipe.model, revision, base_checksum(folder))
    # A hub name stays a hub name; a short name is only known here, so PEFT gets its folder.
    loadable = recipe.model if hub_name == recipe.model else str(folder)
    files = rows_of(recipe, folder)
    job = adapter.Job(base, loadable, hub_name, _identity(recipe, base, folder, files.values()))
    if _finished(out, job.identity, overwrite):
        if work.is_dir():
            held.enter_context(alone(out))
            if _identity_of(work) == job.identity:
                shutil.rmtree(work)  # a kill came between the last rename and this
        return None
    held.enter_context(alone(out))
    _claim(work, job.identity, recipe)
    write_rows(files, work)
    return job


def _identity(
    recipe: Recipe, base: adapter.Base, folder: Path, files: Iterable[Iterable[dict[str, Any]]]
) -> str:
    """Digest everything that decides the adapter's bytes and its log."""
    deciding = dump_deciding(recipe)
    tokenizer = tokenizer_checksum(folder)
    digest = hashlib.sha256(f"{deciding}\0{base.sha256}\0{tokenizer}\0".encode())
    for rows in files:
        for row in rows:
            digest.update(json.dumps(row, sort_keys=True).encode())
        digest.update(b"\0")
    return digest.hexdigest()


def _finished(out: Path, identity: str, overwrite: bool) -> bool:
    """Say whether ``out`` holds this very training; refuse anything else without ``overwrite``."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    whole = (out / adapter.MANIFEST).is_file()
    if whole and adapter.read_manifest(out).identity == identity and not overwrite:
        console.note(f"{out} is finished: same recipe, base and data; reused")
        return True
    if not whole:
        # Whatever that is, it is nobody's to delete here.
        raise RunError(f"{out}: exists and is no finished adapter; choose another --out")
    if not overwrite:
        raise RunError(
            f"{out}: exists and is not the adapter of this recipe; choose another --out, or "
            "replace it with --overwrite"
        )
    return False


def _claim(work: Path, identity: str, recipe: Recipe) -> None:
    """Mark the work folder as this training's, or refuse one that holds steps of another."""
    found = _identity_of(work)
    if found not in (None, identity):
        if any(work.glob("checkpoint-*")):
            raise RunError(
                f"{work}: holds an unfinished training of another recipe, base or data; finish "
                f"that one, or delete the folder to start {recipe.name} anew"
            )
        shutil.rmtree(work)
    elif found is None and work.exists() and any(work.iterdir()):
        raise RunError(
            f"{work}: is where the training's work would go, and holds something else; choose "
            "another --out"
        )
    write_text(work / MARK, identity)


def _identity_of(work: Path) -> str | None:
    """Return which training a work folder is of; None where nothing says so."""
    mark = work / MARK
    return mark.read_text(encoding="utf-8") if mark.is_file() else None


def _check_space(work: Path, trainer: AnswerTrainer) -> None:
    """Refuse a disk that two checkpoints and the adapter would fill in the middle of training."""
    trained = trainer.get_num_trainable_parameters()
    needed, free = disk_needed(trained), shutil.disk_usage(work).free
    if free < needed:
        raise RunError(
            f"{work}: {free / 1e6:.0f} MB free, {needed / 1e6:.0f} MB needed for checkpoints and "
            "adapter; free space or choose another --out"
        )


def _train(trainer: AnswerTrainer, checkpoint: str | None) -> None:
    # The log of a resumed training has the evaluation before its first step already.
    trainer.args.eval_on_start = checkpoint is None and trainer.eval_dataset is not None
    try:
        with _full_memory_named(Path(trainer.args.output_dir), trainer):
            trainer.train(resume_from_checkpoint=checkpoint)
    finally:
        # Trainer says nothing to its callbacks when an exception, such as Ctrl-C, ends it.
        for callback in trainer.callback_handler.callbacks:
            if isinstance(callback, ProgressLine):
                callback.stop()


@contextmanager
def _full_memory_named(work: Path, trainer: AnswerTrainer | None = None) -> Iterator[None]:
    """Turn a GPU's full memory into an error that says when, and what would need less."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        if trainer is None:
            raise RunError(
                f"{work}: the GPU's memory does not hold the model; free it of other programs "
                "(nvidia-smi), or use a larger GPU: kv-train check names some"
            ) from error
        raise RunError(
            f"{work}: the GPU's memory is full at step {trainer.state.global_step}; set "
            "training.gradient_checkpointing=true, or lower training.packs_per_batch or "
            "questions_per_pack"
        ) from error


def _log_lines(history: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return steps and evaluations without wall-clock times, which differ between equal runs."""
    lines = []
    for entry in history:
        if "loss" in entry:
            lines.append({key: entry[key] for key in LOGGED if key in entry})
        elif "eval_exact_match" in entry:
            # Sorted: a resumed training reads its earlier entries back in another order.
            scores = sorted(key for key in entry if key.startswith("eval_exact_match"))
            lines.append({key: entry[key] for key in ("step", "eval_loss", *scores)})
    return lines
