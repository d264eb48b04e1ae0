"""``kv-adapters compare`` and ``kv-adapters report``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from kv_tasks import console

Base = Annotated[Path, typer.Argument(help="Results folder of the base model.")]
Others = Annotated[list[Path], typer.Argument(help="Results folders to compare with it.")]


def compare_command(
    base: Base,
    runs: Others,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write numbers here.")] = None,
    markdown_file: Annotated[
        Path | None, typer.Option("--markdown", help="Write the table here.")
    ] = None,
) -> None:
    """Compare runs with their base, paired by document, and say what changed."""
    with console.requires("report"):
        from kv_adapters.comparison.compare import compare, verdict
        from kv_adapters.comparison.tables import as_json, markdown, screen
    from kv_adapters.comparison.pairing import missing_tasks
    from kv_adapters.comparison.runs import load_runs
    from kv_tasks.files import write_text

    reference, *others = load_runs([base, *runs])
    compared = [compare(reference, other) for other in others]
    for other, rows in zip(others, compared, strict=True):
        console.out.print(screen(rows, width=console.out.width))
        unmatched = dict.fromkeys(str(lost) for row in rows for lost in row.lost)
        for line in [*missing_tasks(reference, other), *unmatched]:
            console.warn(f"not compared: {line}")
        console.out.print(verdict(rows), markup=False)
    if json_file:
        write_text(json_file, json.dumps([as_json(rows) for rows in compared], indent=2) + "\n")
    if markdown_file:
        write_text(markdown_file, "\n".join(markdown(rows) for rows in compared))


def report_command(
    base: Base,
    runs: Others,
    out: Annotated[Path, typer.Option(help="Folder for report.html and its figures.")],
) -> None:
    """Draw what changed: one HTML page that needs no network, and its figures as PNG and SVG."""
    with console.requires("report"):
        from kv_adapters.reports.report import write_report
    from kv_adapters.comparison.runs import load_runs

    reference, *others = load_runs([base, *runs])
    page = write_report(reference, others, out)
    console.out.print(str(page), markup=False)
