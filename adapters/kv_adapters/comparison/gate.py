"""What an adapter must not lose, general ability within a margin, and what it must gain.

A file changes the defaults::

    margin: 0.01            # a share of 1; 0.01 is one point
    tasks:                  # names of tasks or groups; a number is that task's own margin
      mmlu:
      gsm8k: 0.02
    improve: [mdqa_pos_5docs]   # rows of the table that must be improved; none unless named

A name of ``tasks`` stands for itself and for all that begin with it and an underscore, as a group's
parts do; the longest that fits counts. A task of a gated group that has an entry of its own counts
beside the group. A gated task that only one run has, or that a file names and none has, is no
evidence.

Non-inferiority is passed when the whole 95 % interval of the difference lies above minus the
margin (a one-sided test at 2.5 %), failed when it lies below it, and inconclusive otherwise: that
nothing was found says nothing. A base model that is not above guessing, or above nothing, by the
margin and more could lose all that it has and pass, so it is no evidence either.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kv_adapters.comparison.pairing import Pair
from kv_adapters.comparison.statistics import Difference
from kv_tasks.errors import UsageError, reason_of
from kv_tasks.strict_yaml import load_once

GENERAL = ("mmlu", "hellaswag", "gsm8k", "triviaqa", "nq_open")
Outcome = Literal["improved", "regressed", "passed", "failed", "no evidence", "inconclusive"]
ALPHA = 0.05


# Not strict: YAML reads 1e-2 as text.
Margin = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]


class Gate(BaseModel):
    """Tasks that are gated, and their margins as shares of 1; tasks that must be improved."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    margin: Margin = 0.01
    tasks: Mapping[str, Margin | None] = Field(
        default_factory=lambda: dict.fromkeys(GENERAL), min_length=1
    )
    improve: tuple[Annotated[str, Field(min_length=1)], ...] = ()

    @model_validator(mode="after")
    def _not_both(self) -> "Gate":
        for name in self.improve:
            if entry := self.gated_by(name):
                raise ValueError(f"improve: {name} falls under {entry} of tasks; name it in one")
        return self

    def margin_of(self, name: str) -> float | None:
        """Return a task's margin, None if it is not gated."""
        gated = self.gated_by(name)
        if gated is None:
            return None
        own = self.tasks[gated]
        return self.margin if own is None else own

    def gated_by(self, name: str) -> str | None:
        """Return the entry that a task falls under: its own, or the longest that it begins with."""
        entries = [e for e in self.tasks if name == e or name.startswith(f"{e}_")]
        return max(entries, key=len, default=None)


def load_gate(file: Path) -> Gate:
    """Read a gate.

    Raises:
        UsageError: naming the file and the key at fault.
    """
    try:
        said = load_once(file.read_text(encoding="utf-8"))
        if said is None:
            raise UsageError(f"--gate {file}: is empty; expected margin, tasks or improve")
        return Gate.model_validate(said)
    except OSError as error:
        raise UsageError(f"--gate {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"--gate {file}: not a text in UTF-8 ({error.reason})") from error
    except yaml.YAMLError as error:
        raise UsageError(f"--gate {file}: not YAML ({reason_of(error)})") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        if first["type"] == "tuple_type":
            first["msg"] = "expected a list, such as [mdqa_pos_5docs]"
        if first["type"] == "extra_forbidden":
            first["msg"] = f"unknown key; allowed: {', '.join(Gate.model_fields)}"
        why = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"--gate {file}: {key}: {why}; found {first['input']!r}") from error


def non_inferiority(found: Difference, margin: float, pairs: Sequence[Pair]) -> tuple[Outcome, str]:
    """Return the outcome of a gated row, and why where it is not plain."""
    if found.high < -margin:
        return "failed", ""
    at_floor = _at_floor(found, margin, pairs)
    if at_floor:
        return "no evidence", at_floor
    if found.low > -margin:
        return "passed", ""
    return "inconclusive", ""


def superiority(found: Difference, adjusted: float) -> tuple[Outcome, str]:
    """Return the outcome of a row of which more is hoped, after Holm's correction."""
    one_side = found.low > 0 or found.high < 0
    if adjusted < ALPHA and one_side:
        return ("improved" if found.difference > 0 else "regressed"), ""
    if one_side and found.p_value < ALPHA:
        return "inconclusive", f"p = {found.p_value:.3f} alone, {adjusted:.3f} in its family"
    if adjusted < ALPHA:
        return "inconclusive", f"p = {adjusted:.3f}, and the interval holds zero"
    return "inconclusive", ""


def _at_floor(found: Difference, margin: float, pairs: Sequence[Pair]) -> str:
    """Say whether a base that fell to chance, or to zero, might have lost less than the margin."""
    accuracy = found.base
    # Questions, not pairs: over several seeds the base's answers come several times.
    error = math.sqrt(accuracy * (1 - accuracy) / found.questions)
    chance = sum(pair.base.chance for pair in pairs) / len(pairs)
    if accuracy - 2 * error > chance + margin:
        return ""
    floor = f"chance ({chance:.3f})" if chance else "zero"
    near = "two standard errors" + (" and the margin" if accuracy - 2 * error > chance else "")
    return f"the base's {accuracy:.3f} is within {near} of {floor}"
