"""From a recipe's data to packs that fit the model, or an error that names what does not."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jsonlines

from kv_tasks import console
from kv_tasks.errors import DataError, ModelError, RecipeError
from kv_tasks.files import write_jsonl
from kv_tasks.tokens import load_tokenizer
from kv_train.adapter import DATA, HELD_OUT
from kv_train.architecture import Architecture, architecture, meta_model
from kv_train.examples import (
    encode_rows,
    generate,
    held_out,
    held_out_names,
    row_names,
    row_weights,
)
from kv_train.longrope import SERVED, TOGETHER, astride, shorter
from kv_train.packing import Pack, pack_rows
from kv_train.recipe import Recipe
from kv_train.refusal import read_config, refuse_untrainable, renamed, unshared
from kv_train.tokens import Row, unembedded


@dataclass(frozen=True)
class Prepared:
    """What a training reads.

    Attributes:
        packs: to train on.
        held_out: to evaluate on, empty where the recipe has none.
        pad_token_id: fills batches; never seen, never trained.
    """

    packs: Sequence[Pack]
    held_out: Sequence[Pack]
    pad_token_id: int

    @property
    def tokens_per_pack(self) -> float:
        """Tokens that a pack computes, on average."""
        return sum(map(len, self.packs)) / len(self.packs)


def rows_of(recipe: Recipe, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each file of a training.

    Args:
        recipe: the recipe.
        folder: of the base model.

    Raises:
        DataError: as :func:`kv_train.examples.generate`.
    """
    return {DATA: list(generate(recipe, folder)), HELD_OUT: list(held_out(recipe, folder))}


def write_rows(files: Mapping[str, Sequence[dict[str, Any]]], work: Path) -> None:
    """Write :func:`rows_of` as JSON lines into ``work``, over what an earlier attempt left."""
    for name, rows in files.items():
        count = write_jsonl(work / name, rows)
        console.note(f"{count} prompts written to {work / name}")


def prepare(recipe: Recipe, folder: Path, work: Path, *, processes: int = 1) -> Prepared:
    """Encode and pack the rows of ``work``, and check that all of it can be trained on.

    Args:
        recipe: the recipe.
        folder: of the base model.
        work: where :func:`write_rows` wrote.
        processes: that train together.

    Raises:
        DataError: a row has no answer, or does not fit the recipe's limit or the model.
        ModelError: the model's chat template or architecture cannot be trained.
        RecipeError: a step cannot be shared out evenly, or the model lacks a target.
    """
    tokenizer = load_tokenizer(str(folder))
    shapes = _check_architecture(recipe, read_config(folder), folder)
    packs = []
    for file, names in ((DATA, row_names(recipe)), (HELD_OUT, held_out_names(recipe))):
        with jsonlines.open(work / file) as reader:
            written = list(reader)
        named = list(itertools.islice(names, len(written)))
        if len(named) < len(written):
            raise DataError(f"data: a file changed since {work / file} was written; run again")
        rows = encode_rows(
            tokenizer,
            written,
            named,
            max_length=recipe.training.max_length,
            template_kwargs=recipe.data.chat_template_kwargs,
            beside=processes,
        )
        if file == DATA:
            weights = itertools.islice(row_weights(recipe), len(rows))
            rows = [replace(row, kl=kl) for row, kl in zip(rows, weights, strict=True)]
        _check_tokens(recipe, rows, shapes)
        made = pack_rows(rows, questions_per_pack=recipe.training.questions_per_pack)
        if reason := astride(made, shapes.switch, recipe.training.packs_per_batch):
            where = "data" if file == DATA else "evaluation"
            raise DataError(f"{where}: {recipe.model}: {reason}; {TOGETHER}")
        packs.append(made)
    trained, held = packs
    if shorter(trained, shapes.switch):
        console.warn(f"data: some rows are of {shapes.switch} tokens or fewer, {SERVED}")
    _describe(trained)
    pad = tokenizer.pad_token_id
    return Prepared(trained, held, tokenizer.eos_token_id if pad is None else pad)


def _check_architecture(recipe: Recipe, config: Any, folder: Path) -> Architecture:
    """Refuse a model before its weights are read; return the shapes of another."""
    refuse_untrainable(config, recipe.model)
    model = meta_model(config)
    shapes, asked = architecture(model), recipe.training.questions_per_pack
    if asked > 1 and (reason := unshared(model)):
        raise ModelError(
            f"training.questions_per_pack {asked}: {recipe.model}: {reason}; set it to 1"
        )
    present = {name.rpartition(".")[2] for name in shapes.linears}
    if missing := [target for target in recipe.lora.targets if target not in present]:
        raise RecipeError(
            f"lora.targets: {recipe.model} has no {', '.join(missing)}; its linear layers are "
            f"{', '.join(sorted(present))}"
        )
    if reason := renamed(shapes, recipe.lora.targets, folder):
        raise ModelError(f"{recipe.model}: {reason}; choose another model")
    return shapes


def _check_tokens(recipe: Recipe, rows: Sequence[Row], shapes: Architecture) -> None:
    for row in rows:
        if shapes.limit and len(row.input_ids) > shapes.limit:
            raise DataError(
                f"{row.name}: {len(row.input_ids)} tokens, more than the {shapes.limit} of "
                f"{recipe.model}; use a shorter haystack"
            )
        if reason := unembedded(row, shapes.vocabulary):
            raise ModelError(f"{recipe.model}: {row.name}: {reason}")


def refuse_shares(recipe: Recipe, processes: int) -> None:
    """Refuse what could not be the steps of one process: a step is computed by all of them.

    Raises:
        RecipeError: a step's packs cannot be shared out evenly, or a section is held to the base
            model, which one process does.
    """
    if processes > 1 and any(data.kl for data in recipe.sections):
        raise RecipeError(f"kl: {processes} processes train together; it needs a single one")
    training = recipe.training
    together = training.packs_per_batch * processes
    if training.packs_per_step % together:
        raise RecipeError(
            f"training.packs_per_step {training.packs_per_step} is no multiple of the {together} "
            f"packs that {processes} processes compute together; change it or packs_per_batch"
        )


def _describe(packs: Sequence[Pack]) -> None:
    rows = [length for pack in packs for length in pack.rows]
    console.note(
        f"{len(rows)} rows in {len(packs)} packs; longest row {max(rows)} tokens; "
        f"{sum(map(len, packs)):,} tokens an epoch instead of {sum(rows):,} in separate rows"
    )
