"""The table of an evaluation: a line a unit, those that failed with their reason."""

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from kv_adapters.evaluation.worker import Outcome
from kv_tasks import console


def print_outcomes(outcomes: Sequence[Outcome]) -> None:
    """Print model, task, score, time and tokens of every unit."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("model", "task", "status"):
        table.add_column(heading, overflow="fold")
    for heading in ("score", "seconds", "prompt tokens", "cached"):
        table.add_column(heading, justify="right", overflow="fold")
    for outcome in outcomes:
        table.add_row(escape(outcome.label), escape(outcome.task), outcome.status, *_cells(outcome))
    console.out.print(table)
    for outcome in outcomes:
        if outcome.status == "failed":
            where = escape(f"{outcome.label} · {outcome.task}")
            console.out.print(f"[bold red]failed[/] {where}: {escape(outcome.reason)}")


def _cells(outcome: Outcome) -> tuple[str, str, str, str]:
    record, headline = outcome.record, outcome.headline
    prompt, share = record.get("prompt_tokens"), record.get("cached_share")
    return (
        f"{headline[0]} {headline[1]:.3f}" if headline else "",
        str(record.get("seconds", "")),
        f"{prompt:,}" if prompt is not None else "",
        f"{share:.0%}" if share is not None else "",
    )
