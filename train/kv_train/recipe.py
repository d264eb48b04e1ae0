"""Training recipes: what a YAML file may say, checked before anything is loaded.

    kv-train run demo-smollm2 --set training.learning_rate=1e-4

A recipe is a file, or the name of one that ships with the package. Unknown keys and
impossible values are errors that name the key, what was found and what is allowed.
"""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kv_tasks.errors import RecipeError
from kv_tasks.paths import packaged

# What vLLM's LoRA kernels accept (vLLM 0.32, max_lora_rank) up to a rank that makes sense.
MAX_RANK = 512
# Module names that every supported architecture shares; vLLM refuses LoRA on lm_head and
# embeddings, so they are no choice here.
Target = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
ATTENTION: tuple[Target, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(_Section):
    """The prompts: generated, or read from a file of chat messages.

    Attributes:
        kind: the generator; ``simple`` is the paper's dictionary retrieval.
        samples: number of prompts, a multiple of ``questions_per_context``.
        dictionaries: lines of each haystack; the paper's number by default.
        tokens: instead, the window that prompt, chat template and answer fill, counted by the
            model's own tokenizer.
        shortest: with ``tokens``: each window is drawn uniformly from here up.
        placement: of the gold dictionaries: as in the paper, uniform, or even over depth.
        template: whether the prompt shows the answer template.
        questions_per_context: prompts that share a haystack.
        seed: of the training stream.
        file: JSON lines with ``messages`` (and ``context_id``) instead of a generator.
    """

    kind: Literal["simple", "multi-subkey", "multi-query"] = "simple"
    samples: Annotated[int, Field(ge=1)] = 350
    dictionaries: Annotated[int | None, Field(ge=1)] = None
    tokens: Annotated[int | None, Field(ge=1)] = None
    shortest: Annotated[int | None, Field(ge=1)] = None
    placement: Literal["paper", "uniform", "even"] = "paper"
    template: bool = True
    questions_per_context: Annotated[int, Field(ge=1)] = 1
    seed: int = 0
    file: Path | None = None

    @model_validator(mode="after")
    def _whole_contexts(self) -> "Data":
        if self.samples % self.questions_per_context:
            raise ValueError(
                f"samples {self.samples} is no multiple of questions_per_context "
                f"{self.questions_per_context}"
            )
        if self.dictionaries is not None and self.questions_per_context > self.dictionaries:
            raise ValueError(
                f"questions_per_context {self.questions_per_context} exceeds dictionaries "
                f"{self.dictionaries}; each question needs a dictionary of its own"
            )
        return self

    @model_validator(mode="after")
    def _one_size(self) -> "Data":
        if self.tokens is not None and self.dictionaries is not None:
            raise ValueError(
                f"dictionaries {self.dictionaries} and tokens {self.tokens} both say how long a "
                "haystack is; choose one"
            )
        if self.shortest is not None and self.shortest > (self.tokens or 0):
            raise ValueError(f"shortest {self.shortest} exceeds tokens {self.tokens}")
        return self


class Lora(_Section):
    """The adapter, limited to what vLLM serves."""

    rank: Annotated[int, Field(ge=1, le=MAX_RANK)] = 16
    alpha: Annotated[float, Field(gt=0)] = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: Annotated[tuple[Target, ...], Field(min_length=1)] = ATTENTION


class Training(_Section):
    """Optimization.

    Attributes:
        questions_per_pack: questions of one context computed in one pass; 1 is the paper's
            own layout. More gives the same gradient for less work.
        packs_per_step: packs whose gradients make one optimizer step.
        packs_per_batch: packs computed together; the rest is accumulated.
        max_length: most tokens of a row; longer rows are errors.
    """

    epochs: Annotated[float, Field(gt=0)] = 2
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 2e-4
    scheduler: Literal["constant_with_warmup", "linear", "cosine"] = "cosine"
    warmup_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    questions_per_pack: Annotated[int, Field(ge=1)] = 8
    packs_per_step: Annotated[int, Field(ge=1)] = 4
    packs_per_batch: Annotated[int, Field(ge=1)] = 1
    max_length: Annotated[int, Field(ge=16)] = 8192
    gradient_checkpointing: bool = False
    precision: Literal["bf16", "fp32"] = "bf16"
    save_steps: Annotated[int, Field(ge=1)] = 20
    seed: int = 0

    @model_validator(mode="after")
    def _whole_steps(self) -> "Training":
        if self.packs_per_step % self.packs_per_batch:
            raise ValueError(
                f"packs_per_step {self.packs_per_step} is no multiple of packs_per_batch "
                f"{self.packs_per_batch}"
            )
        return self


class Recipe(_Section):
    """A whole recipe; ``model`` is a folder, a hub name or a short name of this package."""

    name: str
    model: str
    revision: str | None = None
    data: Data = Data()
    lora: Lora = Lora()
    training: Training = Training()


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
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise RecipeError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise RecipeError(f"{path}: expected keys such as 'model' and 'data', found {raw!r}")
    for override in overrides:
        _apply(raw, override)
    try:
        return Recipe.model_validate(raw)
    except ValidationError as error:
        problems = "; ".join(_explain(problem) for problem in error.errors())
        raise RecipeError(f"{path}: {problems}") from error


def dump_recipe(recipe: Recipe) -> str:
    """Return the recipe as YAML with every default filled in."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)


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
    target = raw
    for parent in parents:
        target = target.setdefault(parent, {})
        if not isinstance(target, dict):
            raise RecipeError(f"--set {override}: {parent!r} has no keys of its own")
    target[last] = _number(yaml.safe_load(value))


def _number(value: Any) -> Any:
    """YAML 1.1 reads ``1e-4`` as text; people mean a number."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


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
    found = problem["input"]
    shown = "" if isinstance(found, dict | BaseModel) else f" (found {found!r})"
    return f"{key}: {message}{shown}"


def _allowed(location: tuple[Any, ...]) -> list[str]:
    section: Any = Recipe
    for part in location[:-1]:
        field = section.model_fields.get(part)
        section = field.annotation if field else Recipe
    return list(section.model_fields)
