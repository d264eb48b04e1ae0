"""Recipe files: found by path or name, changed by ``--set``, refused with the key at fault.

    kv-train run smollm2-135m-multi-subkey --set training.learning_rate=1e-4

A recipe is a file, or the name of one that ships with the package. An error names the key,
what was found and what is allowed.
"""

import difflib
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from kv_tasks.errors import RecipeError, reason_of
from kv_tasks.paths import packaged
from kv_tasks.strict_yaml import load_once
from kv_train.recipe import MAX_SEED, Data, Recipe

_LISTS = {
    "targets": "[q_proj, v_proj]", "report_to": "[tensorboard]",
    "mix": "--set 'mix=[{file: FILE}]'",
}  # fmt: skip


def recipes_folder() -> Path:
    """Return the folder of the recipes that ship with the package."""
    return packaged(__file__, "recipes", "recipes")


def load_recipe(source: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and apply ``--set`` overrides.

    Args:
        source: path of a YAML file, or the name of a packaged recipe.
        overrides: ``key.subkey=value`` strings; values are read as YAML.

    Raises:
        RecipeError: no such recipe, broken YAML, an unknown key or an impossible value.
    """
    path = _find(source)
    try:
        raw = load_once(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise RecipeError(f"{path}: not valid YAML: {reason_of(error)}") from error
    except UnicodeDecodeError as error:
        raise RecipeError(
            f"{path}: not a text in UTF-8 ({error.reason}); save it as one"
        ) from error
    if not isinstance(raw, dict):
        raise RecipeError(f"{path}: expected keys such as 'model' and 'data', found {raw!r}")
    for override in overrides:
        _apply(raw, override)
    try:
        return Recipe.model_validate(raw)
    except ValidationError as error:
        problems = "; ".join(map(_explain, _apart(error.errors())))
        changed = "".join(f" --set {override}" for override in overrides)
        raise RecipeError(f"{path}{changed and ' with' + changed}: {problems}") from error


def for_seeds(recipe: Recipe, out: Path, seeds: str | None) -> list[tuple[Recipe, Path]]:
    """Return the trainings of one command: a recipe and a folder for each seed.

    Args:
        recipe: as loaded.
        out: the adapter's folder; with seeds the start of its name.
        seeds: such as ``0,1,2``: the seeds of data and training; None for the recipe's own.

    Raises:
        RecipeError: ``seeds`` are no whole numbers, or one is there twice or too large.
    """
    if seeds is None:
        return [(recipe, out)]
    given = [number.strip() for number in seeds.split(",")]
    numbers = [int(number) for number in given if number.isdecimal()]
    if len(set(numbers)) < len(given):
        raise RecipeError(f"--seeds {seeds}: expected different whole numbers, such as 0,1,2")
    if max(numbers) > MAX_SEED:
        raise RecipeError(
            f"--seeds {seeds}: {max(numbers)} is too large; training.seed is at most {MAX_SEED}"
        )
    return [
        (_with_seed(recipe, number), out.with_name(f"{out.name}-seed{number}"))
        for number in numbers
    ]


def _with_seed(recipe: Recipe, seed: int) -> Recipe:
    # Sections that a recipe tells apart by their seeds stay apart, and from those of other seeds.
    sections = [section.seed for section in (recipe.data, *recipe.mix)]
    further = (seed - recipe.data.seed) * (max(sections) - min(sections) + 1)
    return recipe.model_copy(
        update={
            "name": f"{recipe.name}-seed{seed}",
            "data": _further(recipe.data, further),
            "mix": tuple(_further(section, further) for section in recipe.mix),
            "training": recipe.training.model_copy(update={"seed": seed}),
        }
    )


def _further(section: Data, by: int) -> Data:
    return section.model_copy(update={"seed": section.seed + by})


def dump_recipe(recipe: Recipe) -> str:
    """Return the recipe as YAML with every default filled in."""
    unused = {"openai"} if recipe.openai is None else {"lora", "training", "evaluation"}
    unused |= {"report_to"} if recipe.openai else set()
    return yaml.safe_dump(recipe.model_dump(mode="json", exclude=unused), sort_keys=False)


def dump_deciding(recipe: Recipe) -> str:
    """Return what of the recipe decides the adapter, as text."""
    return dump_recipe(recipe.model_copy(update={"out": None, "report_to": ()}))


def _find(source: str) -> Path:
    path = Path(source)
    if path.is_file():
        return path
    packaged_file = recipes_folder() / f"{source}.yaml"
    if packaged_file.is_file():
        return packaged_file
    names = ", ".join(sorted(file.stem for file in recipes_folder().glob("*.yaml")))
    raise RecipeError(f"{source}: no such file, and no packaged recipe; packaged are: {names}")


def _apply(raw: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise RecipeError(f"--set {override}: expected key=value, such as training.epochs=1")
    *parents, last = key.split(".")
    target: dict[str, Any] | list[Any] = raw
    for parent in parents:
        inside = target.setdefault(parent, {}) if isinstance(target, dict) else None
        if isinstance(target, list) and parent.isdecimal() and int(parent) < len(target):
            inside = target[int(parent)]
        if not isinstance(inside, dict | list):
            raise RecipeError(f"--set {override}: {parent!r} has no keys of its own")
        target = inside
    if not isinstance(target, dict):
        raise RecipeError(f"--set {override}: {last!r} is a number in a list; name a key of it")
    try:
        target[last] = load_once(value)
    except yaml.YAMLError as error:
        # The first line of a YAML error says what, the others show where in the file.
        raise RecipeError(
            f"--set {override}: the value is not valid YAML ({reason_of(error, first_line=True)})"
        ) from error


def _apart(problems: Sequence[Any]) -> Iterator[Any]:
    """Yield problems, without those of a list that are only its items'."""
    for problem in problems:
        place = problem["loc"]
        inner = (other["loc"] for other in problems if len(other["loc"]) > len(place))
        if problem["type"] != "too_short" or all(at[: len(place)] != place for at in inner):
            yield problem


def _explain(problem: Any) -> str:
    """Turn one pydantic problem into ``key: found; what to do``."""
    key = ".".join(str(part) for part in problem["loc"]) or "recipe"
    if problem["type"] == "extra_forbidden":
        allowed = _allowed(problem["loc"])
        close = difflib.get_close_matches(str(problem["loc"][-1]), allowed, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        return f"unknown key {key!r}; {hint}allowed: {', '.join(allowed)}"
    if problem["type"] == "missing":
        return f"{key} is missing; every recipe needs it"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "tuple_type":
        message = f"expected a list, such as {_LISTS[problem['loc'][-1]]}"
    found = problem["input"]
    shown = "" if isinstance(found, dict | BaseModel) else f" (found {found!r})"
    return f"{key}: {message}{shown}"


def _allowed(location: tuple[Any, ...]) -> list[str]:
    section: type[BaseModel] = Recipe
    for part in (part for part in location[:-1] if isinstance(part, str)):
        field = section.model_fields.get(part)
        section = _section(field.annotation) if field else Recipe
    return list(section.model_fields)


def _section(annotation: Any) -> type[BaseModel]:
    """Return the section in an annotation such as ``Lora`` or ``OpenAI | None``."""
    choices = typing.get_args(annotation) or (annotation,)
    return next((c for c in choices if isinstance(c, type) and issubclass(c, BaseModel)), Recipe)
