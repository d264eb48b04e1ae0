"""``kv-adapters report``."""

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
) -> None:
    """Draw what changed: one HTML page that needs no network, and its figures as PNG and SVG."""
    with console.requires("report"):
        from kv_adapters.comparison.gate import load_gate
        from kv_adapters.reports.report import write_report
    from kv_adapters.comparison.runs import load_runs

    gate = load_gate(gate_file) if gate_file else None
    reference, *others = load_runs([base, *runs])
    page = write_report(reference, others, out, gate)
    console.out.print(str(page), markup=False)
