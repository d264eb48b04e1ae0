"""``kv-train check``: everything one can learn about a recipe without training.

Facts are gathered here and in the modules beside it, and drawn by :mod:`kv_train.check.rendering`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers.utils import logging as transformers_logging

from kv_train.architecture import Architecture
from kv_train.check import findings
from kv_train.check.findings import Finding
from kv_train.check.model import Model, look_up
from kv_train.check.plan import Estimate, Plan, estimate_of, plan_of
from kv_train.check.rows import Lengths, Piece, Rows, example, gather, lengths
from kv_train.examples import generate, held_out, held_out_names, row_names, row_weights
from kv_train.precision import settled
from kv_train.recipe import Data, Recipe


@dataclass(frozen=True)
class Report:
    """All that was learned; None where it could not be.

    Attributes:
        recipe: as it would run, defaults filled in.
        limits: of a row's length, in tokens, by name.
        example: the first row.
        findings: errors first.
    """

    recipe: Recipe
    plan: Plan | None
    lengths: Lengths | None
    limits: Mapping[str, int | None]
    example: tuple[Piece, ...]
    estimate: Estimate | None
    findings: tuple[Finding, ...]

    def count(self, level: str) -> int:
        """Return how many findings are of a level."""
        return sum(finding.level == level for finding in self.findings)

    def failed(self, *, strict: bool) -> bool:
        """Say whether something is wrong; ``strict`` counts what could not be checked."""
        return bool(self.count("error") or (strict and self.count("unchecked")))


def check(recipe: Recipe, tokenizer: Path | None = None) -> Report:
    """Learn everything about a recipe that can be known without its model's weights.

    Args:
        recipe: without an ``openai`` section.
        tokenizer: folder whose tokenizer, and config.json if any, replace the model's.
    """
    transformers_logging.set_verbosity_error()
    # There auto stands for what every one of them multiplies.
    on_gpus = settled(recipe, "bf16")
    recipe = settled(recipe)
    model = look_up(recipe, tokenizer)
    train, held = _training_rows(recipe, model), _held_out_rows(recipe, model)
    plan = plan_of(recipe, train, held) if train.count else None
    estimate = estimate_of(recipe, on_gpus, model, plan, train, held) if plan else None
    first = train.encoded[0] if train.encoded else None
    found = [*model.findings, *train.findings, *held.findings]
    found += _findings(recipe, model, plan, train, held)
    if estimate:
        found += findings.memory(recipe, estimate.needed, estimate.places[0])
    return Report(
        recipe=recipe,
        plan=plan,
        lengths=lengths(train.encoded) if first else None,
        limits=_limits(recipe, model.shapes),
        example=example(model.tokenizer, first) if model.tokenizer and first else (),
        estimate=estimate,
        findings=tuple(sorted(found, key=_severity)),
    )


def _training_rows(recipe: Recipe, model: Model) -> Rows:
    tokens = _uncounted_window([s for s in recipe.sections if s.file is None], model)
    if tokens is not None:
        unknown = f"windows of {tokens:,} tokens are filled by the model's tokenizer"
        return Rows((), (), (), (Finding("unchecked", "data", f"not generated: {unknown}"),))
    rows = generate(recipe, model.folder or "")
    return gather(
        rows, recipe, model, key="data", names=row_names(recipe), weights=row_weights(recipe)
    )


def _held_out_rows(recipe: Recipe, model: Model) -> Rows:
    # A file's section generates held-out prompts by its other keys.
    if recipe.evaluation.file is None and _uncounted_window(recipe.sections, model):
        return Rows((), (), (), ())
    rows = held_out(recipe, model.folder or "")
    return gather(rows, recipe, model, key="evaluation", names=held_out_names(recipe))


def _uncounted_window(sections: Sequence[Data], model: Model) -> int | None:
    """Return the tokens of a window that only the model's tokenizer fills, if that is missing."""
    if model.folder is not None:
        return None
    return next((data.tokens for data in sections if data.tokens is not None), None)


def _findings(
    recipe: Recipe, model: Model, plan: Plan | None, train: Rows, held: Rows
) -> Iterator[Finding]:
    limit = model.shapes.limit if model.shapes else None
    for rows in (train, held):
        yield from findings.too_long(recipe, rows.encoded, limit)
    if model.shapes:
        yield from findings.targets(recipe, model.shapes)
        yield from findings.space(recipe, model.shapes.lora_parameters(recipe.lora))
    if plan:
        yield from findings.steps(recipe, plan.packs, plan.steps, plan.warmup_steps)
        yield from findings.sharing(recipe, train.contexts)
    yield from findings.held_to_base(recipe)
    yield from findings.evaluation(recipe, held.count)
    yield from findings.precision(recipe)
    yield from findings.reporters(recipe)
    yield from findings.output(recipe)


def _limits(recipe: Recipe, shapes: Architecture | None) -> dict[str, int | None]:
    limits: dict[str, int | None] = {"training.max_length": recipe.training.max_length}
    if shapes:
        windows = [window for window in shapes.windows if window is not None]
        limits["max_position_embeddings"] = shapes.limit
        limits["sliding_window"] = min(windows, default=None)
    return limits


def _severity(finding: Finding) -> int:
    return ("error", "warning", "note", "unchecked").index(finding.level)
