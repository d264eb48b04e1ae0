"""``kv-adapters compare``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from kv_tasks import console

Base = Annotated[Path, typer.Argument(help="Results folder of the base model.")]
Others = Annotated[list[Path], typer.Argument(help="Results folders to compare with it.")]
GateFile = Annotated[
    Path | None,
    typer.Option(
        "--gate", metavar="FILE", help="YAML: gated tasks, their margins, tasks to improve."
    ),
]


def compare_command(
    base: Base,
    runs: Others,
    gate_file: GateFile = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write numbers here.")
    ] = None,
    markdown_file: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Write the table here.")
    ] = None,
) -> None:
    """Compare runs with their base, paired by document, and say what changed.

    Exit code: 0 general ability held, and every task under `improve` of the gate file improved, 1
    one regressed, 2 there is too little evidence of either, 3 anything else.
    """
    with console.requires("report"):
        from kv_adapters.comparison.tables import as_json, markdown, remarks, screen
        from kv_adapters.comparison.verdict import exit_code, judge
    from kv_adapters.comparison.gate import load_gate
    from kv_adapters.comparison.runs import load_runs
    from kv_tasks.files import check_out, write_text

    for flag, file in (("--json", json_file), ("--markdown", markdown_file)):
        if file:
            check_out(file, flag=flag)
    gate = load_gate(gate_file) if gate_file else None
    reference, *others = load_runs([base, *runs])
    verdicts = judge(reference, others, gate)
    if json_file:
        write_text(json_file, json.dumps(as_json(verdicts), indent=2) + "\n")
    if markdown_file:
        write_text(markdown_file, "\n".join(markdown(verdict) for verdict in verdicts))
    for line in dict.fromkeys(line for verdict in verdicts for line in verdict.doubts):
        console.warn(line)
    for verdict in verdicts:
        console.out.print(screen(verdict, width=console.out.width))
        for line in remarks(verdict, shortened=True):
            console.result(line)
        for line in verdict.warnings:
            console.warn(f"not compared: {line}")
        console.result(verdict.sentence)
    raise console.Exit(exit_code(verdicts))
