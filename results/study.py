"""What is written by hand of a study, `about.yaml` in its folder: conditions, and what was found.

A study is a model under several conditions, evaluated on the same tasks; `base` comes first.
"""

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kv_tasks.errors import RunError
from kv_tasks.strict_yaml import load_once


class Strict(BaseModel):
    """No key is ignored."""

    model_config = ConfigDict(extra="forbid")


class Condition(Strict):
    """One folder of results.

    Attributes:
        what: a row of the page; none of a recipe's further seeds.
        short: the same in a few words, for the overview.
        command: that trained the adapter.
    """

    what: str | None = None
    short: str | None = None
    command: str | None = None


class Tried(Strict):
    """Runs that were not kept: a table typed in, between two texts."""

    about: str
    columns: list[str]
    rows: list[list[str]]
    found: str


class Study(Strict):
    """One page of results.

    Attributes:
        title: model, and how it was trained and evaluated.
        machine: that evaluated it.
        conditions: by the name of their folders, ``base`` first.
        found: what the numbers say.
        notes: what else one should know of them.
        overview: the task of each column of the overview, null where there is none; without it
            the study has no row there.
        contrasts: pairs of conditions that are compared with each other.
        drawn: the conditions in the figures, all where none is named.
        first: the figures, by their stems, that stand beside what was found.
    """

    title: str
    conditions: dict[str, Condition]
    found: str
    machine: str = "2 cores"
    notes: str | None = None
    overview: list[str | None] | None = None
    contrasts: list[tuple[str, str]] = Field(default_factory=list)
    drawn: list[str] = Field(default_factory=list)
    first: list[str] = Field(default_factory=list)
    tried: Tried | None = None

    @property
    def short(self) -> dict[str, str]:
        """What each condition is in a few words, by its name."""
        return {name: one.short for name, one in self.conditions.items() if one.short}


def load_study(folder: Path) -> Study:
    """Read a study's ``about.yaml``.

    Raises:
        RunError: it is not there, or says what no study has.
    """
    file = folder / "about.yaml"
    try:
        found: Any = load_once(file.read_text(encoding="utf-8"))
        return Study.model_validate(found)
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise RunError(f"{file}: {error}") from error
