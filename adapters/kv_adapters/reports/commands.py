"""``kv-adapters report`` and ``kv-adapters card``."""

from pathlib import Path
from typing import Annotated

import typer

from kv_adapters.comparison.commands import Base, GateFile, Others
from kv_tasks import console


def report_command(
    base: Base,
    runs: Others,
    out: Annotated[Path, typer.Option(help="Folder for report.html and its figures.")],
    gate_file: GateFile = None,
    published: Annotated[
        bool, typer.Option("--published", help="Set the paper's numbers beside.")
    ] = False,
) -> None:
    """Draw what changed: one HTML page that needs no network, and its figures as PNG and SVG."""
    with console.requires("report"):
        from kv_adapters.comparison.gate import load_gate
        from kv_adapters.reports.report import write_report
    from kv_adapters.comparison.doubts import doubts
    from kv_adapters.comparison.runs import load_runs
    from kv_tasks.files import check_out

    check_out(out, folder=True)
    gate = load_gate(gate_file) if gate_file else None
    reference, *others = load_runs([base, *runs])
    for line in (line for other in others for line in doubts(reference, other)):
        console.warn(line)
    page = write_report(reference, others, out, gate, beside=published)
    console.result(page)


def card_command(
    adapter: Annotated[Path, typer.Argument(help="Adapter folder whose README.md is filled.")],
    base: Base,
    run: Annotated[Path, typer.Argument(help="Results folder of the adapter.")],
    gate_file: GateFile = None,
) -> None:
    """Fill an adapter's model card with table, figure and the hub's metadata."""
    with console.requires("report"):
        from kv_adapters.comparison.gate import load_gate
        from kv_adapters.reports.card import write_card
    from kv_adapters.comparison.runs import load_runs

    gate = load_gate(gate_file) if gate_file else None
    reference, other = load_runs([base, run])
    console.result(write_card(adapter, reference, other, gate))
