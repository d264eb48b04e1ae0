"""The table of checks, as a person reads it."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from kv_adapters.checks.check import Check
from kv_tasks import console

_COLOURS = {"ok": "green", "failed": "bold red", "not checked": "yellow"}


def print_checks(checks: Sequence[Check], adapter: Path) -> None:
    """Print one line a check, and the mend beneath each that failed."""
    table = Table(title=escape(str(adapter)), title_justify="left")
    for heading in ("check", "status", "expected", "found"):
        table.add_column(heading, overflow="fold")
    for check in checks:
        colour = _COLOURS[check.status]
        found = check.found + (f"\n→ {check.mend}" if check.mend else "")
        table.add_row(
            check.name, f"[{colour}]{check.status}[/]", escape(check.expected), escape(found)
        )
    console.out.print(table)


def as_json(checks: Sequence[Check], adapter: Path) -> str:
    """Return the checks as a JSON text."""
    passed = not any(check.status == "failed" for check in checks)
    table = {
        "adapter": str(adapter), "passed": passed, "checks": [asdict(check) for check in checks],
    }  # fmt: skip
    return json.dumps(table, indent=2, ensure_ascii=False) + "\n"
