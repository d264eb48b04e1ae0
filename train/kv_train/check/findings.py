"""What can be wrong with a recipe, one line each; every check tells all that it finds."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kv_tasks.errors import KVError
from kv_train.adapter import MANIFEST, RECIPE
from kv_train.architecture import Architecture
from kv_train.building import missing_reporters
from kv_train.check.machine import Place
from kv_train.checkpoints import disk_needed
from kv_train.precision import emulated
from kv_train.recipe import Recipe
from kv_train.recipe_files import dump_deciding, load_recipe
from kv_train.tokens import Row

Level = Literal["error", "warning", "note", "unchecked"]


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        level: ``error`` for what stops a training or makes it another one than was asked for,
            ``unchecked`` for what nobody could look at.
        where: key of the recipe, or file and line.
        found: there.
        advice: what to do.
    """

    level: Level
    where: str
    found: str
    advice: str = ""


def too_long(recipe: Recipe, rows: Sequence[Row], limit: int | None) -> Iterator[Finding]:
    """Find rows beyond the recipe's limit, or beyond the model's."""
    limits = {"training.max_length": recipe.training.max_length, "model": limit}
    for key, most in limits.items():
        beyond = [row for row in rows if most and len(row.input_ids) > most]
        if beyond:
            longest = max(beyond, key=lambda row: len(row.input_ids))
            yield Finding(
                "error", key,
                f"{len(beyond)} of {len(rows)} rows are longer than {most:,} tokens; the longest, "
                f"{longest.name}, has {len(longest.input_ids):,}",
                "use shorter haystacks" + (", or raise it" if key != "model" else ""),
            )  # fmt: skip


def targets(recipe: Recipe, shapes: Architecture) -> Iterator[Finding]:
    """Find targets that the architecture does not have, or that are smaller than the rank."""
    parts = ("experts",) * shapes.experts + shapes.carrying
    if parts:
        unknown = f"the model has {', '.join(parts)}, of which nothing is known here"
        yield Finding("unchecked", "memory and time", unknown)
    present = sorted({name.rpartition(".")[2] for name in shapes.linears})
    for target in recipe.lora.targets:
        found = shapes.targeted([target])
        smallest = min((min(shape) for shape in found.values()), default=None)
        if smallest is None:
            yield Finding(
                "error", "lora.targets", f"{recipe.model} has no {target}",
                f"its linear layers are {', '.join(present)}",
            )  # fmt: skip
        elif recipe.lora.rank > smallest:
            yield Finding(
                "warning", "lora.rank",
                f"{recipe.lora.rank} exceeds the smaller side of {target}, {smallest}",
                f"rank {smallest} can express as much",
            )  # fmt: skip


def steps(recipe: Recipe, packs: int, total: int, warmup: int) -> Iterator[Finding]:
    """Find steps that are smaller than the others, and warm-ups that never end."""
    training = recipe.training
    rest = packs % training.packs_per_step
    if packs < training.packs_per_step:
        yield Finding(
            "warning", "training.packs_per_step",
            f"{training.packs_per_step}, but there are {packs} packs: an epoch is one smaller step",
            "lower it, or raise data.samples",
        )  # fmt: skip
    elif rest:
        yield Finding(
            "note", "training.packs_per_step",
            f"{packs} packs are no multiple of {training.packs_per_step}: the last step of an "
            f"epoch has {rest}",
            "if that matters, change it or data.samples",
        )  # fmt: skip
    if training.epochs * packs < training.packs_per_step <= packs:
        yield Finding(
            "warning", "training.epochs", f"{training.epochs} is less than one optimizer step",
            "raise it: one whole step is trained",
        )  # fmt: skip
    if warmup >= total:
        yield Finding(
            "warning", "training.warmup_share",
            f"all of the training, {total} steps: the learning rate is never reached for long",
            "lower it",
        )  # fmt: skip


def sharing(recipe: Recipe, contexts: Sequence[int]) -> Iterator[Finding]:
    """Find packs that ask for more questions than a haystack has."""
    most, asked = max(contexts, default=0), recipe.training.questions_per_pack
    if most < asked:
        # Eight is the default and does no harm; asking for it says that sharing was meant.
        meant = "questions_per_pack" in recipe.training.model_fields_set
        yield Finding(
            "warning" if meant else "note", "training.questions_per_pack",
            f"{asked}, but " + ("no two rows in succession share a context: nothing is shared"
            if most < 2 else f"at most {most} rows share a context"),
            "raise data.questions_per_context, or give rows of a file the same context_id",
        )  # fmt: skip


def held_to_base(recipe: Recipe) -> Iterator[Finding]:
    """Say what the estimate leaves out of rows that are held to the base's distribution."""
    if any(section.kl for section in recipe.sections):
        yield Finding(
            "warning", "kl",
            "the estimate leaves out that such rows are computed twice, with logits of every token",
            "keep them short",
        )  # fmt: skip


def evaluation(recipe: Recipe, held_out: int) -> Iterator[Finding]:
    """Find trainings that nothing watches."""
    if recipe.evaluation.steps and not held_out and recipe.data.file and not recipe.data.kind:
        yield Finding(
            "note", "evaluation", "no held-out prompts: training reads a file",
            "say evaluation.file, or data.kind for generated ones",
        )  # fmt: skip


def memory(recipe: Recipe, needed: int, here: Place) -> Iterator[Finding]:
    """Find trainings that need more bytes than this machine has free."""
    training = recipe.training
    if not here.fits:
        savings = ["shorter haystacks"]
        if training.packs_per_batch > 1:
            savings.insert(0, "training.packs_per_batch=1")
        if not training.gradient_checkpointing:
            savings.insert(0, "training.gradient_checkpointing=true")
        yield Finding(
            "warning", "memory",
            f"about {needed / 1e9:,.1f} GB needed, {here.memory / 1e9:,.1f} GB free {here.name}",
            f"choose {' or '.join(savings)}, or a larger machine",
        )  # fmt: skip


def precision(recipe: Recipe) -> Iterator[Finding]:
    """Find bf16 where the processor only emulates it."""
    if emulated(recipe):
        yield Finding(
            "warning", "training.precision", "bf16, which this processor only emulates",
            "set it to auto or fp32, many times faster here",
        )  # fmt: skip


def reporters(recipe: Recipe) -> Iterator[Finding]:
    """Find packages that are not installed."""
    for name in missing_reporters(recipe):
        yield Finding("error", "report_to", f"{name} is not installed", f"run: pip install {name}")


def output(recipe: Recipe) -> Iterator[Finding]:
    """Find what lies in the way of the adapter's folder.

    A training knows its own folder by the base's checksum, too; that is not computed here.
    """
    out = recipe.folder
    if any(out.with_name(f"{out.name}.partial").glob("checkpoint-*")):
        yield Finding(
            "unchecked", f"{out}.partial", "holds an unfinished training, maybe of another recipe",
            "a run goes on from it, or says that it is another's",
        )  # fmt: skip
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / MANIFEST).is_file():
        yield Finding("error", "out", f"{out} exists and is no adapter", "choose another folder")
    elif dump_deciding(recipe) == _recipe_of(out):
        found = f"{out} holds an adapter of this recipe; a run reuses it if base and rows are equal"
        yield Finding("note", "out", found)
    else:
        advice = "choose another folder, or run with --overwrite"
        yield Finding("error", "out", f"{out} holds the adapter of another recipe", advice)


def _recipe_of(out: Path) -> str | None:
    try:
        return dump_deciding(load_recipe(str(out / RECIPE)))
    except KVError:
        return None


def space(recipe: Recipe, trained: int) -> Iterator[Finding]:
    """Find disks too small for two checkpoints of ``trained`` weights and the adapter."""
    folder = recipe.folder.absolute()
    existing = next(parent for parent in folder.parents if parent.is_dir())
    needed, free = disk_needed(trained), shutil.disk_usage(existing).free
    if free < needed:
        yield Finding(
            "error", "out", f"{existing} has {free / 1e6:,.0f} MB free, {needed / 1e6:,.0f} needed",
            "free space, or choose another folder",
        )  # fmt: skip
