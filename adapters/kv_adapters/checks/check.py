"""One line of the table of checks."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "failed", "not checked"]


@dataclass(frozen=True)
class Check:
    """What was looked at, wanted, found, and how to mend it."""

    name: str
    status: Status
    expected: str
    found: str
    mend: str = ""


def judged(name: str, good: bool, expected: str, found: str, mend: str) -> Check:
    """Return a check that passed, or failed with the way to mend it."""
    return Check(name, "ok" if good else "failed", expected, found, "" if good else mend)
