"""The report of ``kv-train check``, as a person reads it; it needs no colours and 80 columns."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence

from rich.text import Text

from kv_tasks import console
from kv_train.check.findings import Finding
from kv_train.check.machine import PUBLISHED_SHARE, USABLE
from kv_train.check.plan import Estimate, Plan
from kv_train.check.report import Report
from kv_train.check.rows import Lengths, Piece
from kv_train.recipe import Recipe

_COLOURS = {"error": "bold red", "warning": "yellow", "note": "dim", "unchecked": "yellow"}
_BAR = 40
# Parameters below which a GPU waits for the processor between operations: models of 0.1 and 0.5
# billion were seen to take many times what their operations would.
SMALL = 1_000_000_000


def print_report(report: Report, *, strict: bool) -> None:
    """Print all parts of a report that there are."""
    recipe = report.recipe
    data = " and ".join(str(one.file or f"{one.generator!r} prompts") for one in recipe.sections)
    _print(f"{recipe.name}: {recipe.model} on {data}", style="bold")
    if report.plan:
        _print("")
        _print_columns(_plan(report.plan, recipe))
    if report.lengths:
        _print_lengths(report.lengths, report.limits)
    if report.example:
        _print_example(report.example)
    if report.estimate:
        _print_estimate(report.estimate, recipe)
    _print_findings(report.findings)
    _print_verdict(report, strict=strict)


def as_json(report: Report) -> str:
    """Return all facts as JSON text."""
    facts = dataclasses.asdict(report)
    facts["recipe"] = report.recipe.model_dump(mode="json")
    return json.dumps(facts, indent=2, ensure_ascii=False) + "\n"


def _print(line: str, *, style: str = "") -> None:
    console.out.print(Text(line, style=style))


def _print_columns(rows: Sequence[tuple[str, ...]]) -> None:
    """Print left-justified columns."""
    widths = [max(map(len, column)) + 2 for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        _print("".join(cells).rstrip())


def _plan(plan: Plan, recipe: Recipe) -> list[tuple[str, str]]:
    training = recipe.training
    failed = plan.rows - plan.encoded
    rows = f"{plan.rows:,}" + (f", {failed:,} of them not encoded" if failed else "")
    contexts = f"{plan.contexts:,}, questions in one: up to {plan.most_questions:,}"
    packs = f"{plan.packs:,}, questions in one: up to {training.questions_per_pack}"
    steps = f"{plan.steps:,}, packs in one: {training.packs_per_step}; epochs: {training.epochs:g}"
    rate = f"{training.learning_rate:g}, {training.scheduler}; warm-up steps: {plan.warmup_steps:,}"
    evaluated = f"{plan.evaluations:,}, held-out rows in one: {plan.held_out:,}"
    return [
        ("rows", rows),
        ("contexts", contexts),
        ("packs", packs),
        *_tokens(plan),
        ("optimizer steps", steps),
        ("learning rate", rate),
        ("evaluations", evaluated if plan.evaluations else "none"),
    ]


def _tokens(plan: Plan) -> Iterator[tuple[str, str]]:
    if plan.tokens:
        separate, ratio = plan.separate_tokens, plan.separate_tokens / plan.tokens
        yield "tokens", f"{plan.tokens:,} an epoch; in separate rows {separate:,} ({ratio:.1f} x)"
        yield "trained tokens", f"{plan.answer_tokens:,} an epoch, those of the answers"


def _print_lengths(lengths: Lengths, limits: Mapping[str, int | None]) -> None:
    _print("\nRow lengths in tokens", style="bold")
    most = max(part.rows for part in lengths.histogram)
    for part in lengths.histogram:
        bar = "█" * -(-part.rows * _BAR // most)
        _print(f"{f'{part.start:,}-{part.end:,}':>15}  {bar} {part.rows:,}")
    _print(f"min {lengths.shortest:,}, median {lengths.median:,.0f}, max {lengths.longest:,}")
    _print("limits")
    _print_columns(
        [(f"  {name}", f"{limit:,}" if limit else "none") for name, limit in limits.items()]
    )


def _print_example(pieces: tuple[Piece, ...]) -> None:
    _print("\nThe first row as the model reads it; ⟦this is trained⟧", style="bold")
    text = Text()
    for piece in pieces:
        if piece.left_out:
            text.append(f"\n... {piece.left_out:,} tokens ...\n", style="dim")
        elif piece.trained:
            text.append(f"⟦{piece.text}⟧", style="bold green")
        else:
            text.append(piece.text)
    console.out.print(text)


def _print_estimate(estimate: Estimate, recipe: Recipe) -> None:
    _print("\nEstimates", style="bold")
    memory, parts = estimate.memory, dataclasses.asdict(estimate.epoch)
    shares = (f"{name} {part / estimate.epoch.total:.0%}" for name, part in parts.items())
    checkpointing = "with" if recipe.training.gradient_checkpointing else "without"
    _print_columns(
        [
            ("parameters", f"{estimate.parameters:,} in the base, {estimate.trained:,} trained"),
            ("compute", f"{_flops(estimate.step)} a step, {_flops(estimate.training)} in all"),
            ("", f"({', '.join(shares)})"),
            ("memory", f"{_bytes(estimate.needed)}, {checkpointing} gradient checkpointing"),
            ("", f"(base {_bytes(memory.weights)}, adapter {_bytes(memory.adapter)}, activations "
             f"{_bytes(memory.activations)}, logits {_bytes(memory.logits)})"),
        ]
    )  # fmt: skip
    small = estimate.parameters < SMALL
    _print_columns(
        [
            (
                place.name,
                f"{'over' if small and number else 'about'} {_duration(place.seconds)}",
                f"{'fits' if place.fits else 'does not fit'} in {_bytes(place.memory)}",
                f"{place.speed / 1e12:,.3g} TFLOP/s",
            )
            for number, place in enumerate(estimate.places)
        ]
    )
    _print(
        "Speeds: here, of one layer timed just now; of a GPU, "
        f"{PUBLISHED_SHARE:.0%} of its published\n{estimate.gpu_precision} peak"
        + (", which models this small are far from" if small else "")
        + f". Usable memory: {USABLE:.0%}."
    )


def _print_findings(findings: tuple[Finding, ...]) -> None:
    if findings:
        _print("\nFindings", style="bold")
    for finding in findings:
        level = "not checked" if finding.level == "unchecked" else finding.level
        line = Text(f"{level}: ", style=_COLOURS[finding.level])
        line.append(f"{finding.where}: {finding.found}", style="default")
        line.append(f"; {finding.advice}" if finding.advice else "", style="default")
        console.out.print(line)


def _print_verdict(report: Report, *, strict: bool) -> None:
    errors, warnings, unchecked = map(report.count, ("error", "warning", "unchecked"))
    if report.failed(strict=strict):
        said, style = "not ready", "bold red"
    elif unchecked:
        said, style = "nothing wrong was found, but not all could be checked", "bold yellow"
    else:
        said, style = "ready", "bold green"
    counts = f"errors {errors}, warnings {warnings}, not checked {unchecked}"
    _print(f"\n{said}: {counts}", style=style)


def _scaled(value: float, unit: str) -> str:
    """Return a number with three digits and a prefix, such as 1.44 GB."""
    for prefix in ("", "k", "M", "G", "T", "P"):
        if value < 999.5:
            return f"{value:.3g} {prefix}{unit}"
        value /= 1000
    return f"{value:,.3g} E{unit}"


def _flops(value: float) -> str:
    return _scaled(value, "FLOP")


def _bytes(value: float) -> str:
    return _scaled(value, "B")


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(1, seconds):.0f} s"
