"""The training file of a fine-tuning job of the OpenAI API: its rows, tokens and price.

One line, shortened:

    {"messages": [{"role": "system", "content": "Write a response that appropriately ..."},
                  {"role": "user", "content": "Do a task using the list of ..."},
                  {"role": "assistant", "content": "The value of key 2931 is 8364 and ..."}]}

What is wrong with a row is said before anything is sent: the service refuses a malformed row
only after the upload, and cuts a row that is too long without a word.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import tiktoken
from pydantic import Field, ValidationError, model_validator

from kv_tasks.errors import DataError, RecipeError
from kv_train.examples import generate, row_names
from kv_train.recipe import OpenAI, Recipe, Section

# Fewer examples make no job (the provider's guide to supervised fine-tuning).
MINIMUM_ROWS = 10
# What this project's own rows carry beside the messages; the service refuses other keys.
_PLACE = {"context_id", "gold_position", "depth"}
_PIECES = re.compile(r"\d{1,3}|[A-Za-z]{1,6}|[!-/:-@\[-`{-~]{1,3}| (?=\d)|[^\x00-\x7F]")
ESTIMATE = (
    "estimate: one token for up to 3 digits, 6 letters or 3 signs, for a blank before a digit, "
    "and for each character beyond ASCII"
)


class Message(Section):
    """A message of a row, limited to chats of text; the service takes tools and images, too."""

    role: Literal["system", "user", "assistant"]
    content: Annotated[str, Field(min_length=1)]
    name: str | None = None
    weight: Literal[0, 1] | None = None


class Row(Section):
    """A line of the file."""

    messages: Annotated[tuple[Message, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _in_order(self) -> "Row":
        roles = [message.role for message in self.messages]
        if "system" in roles[1:]:
            raise ValueError(f"roles {', '.join(roles)}: only the first may be 'system'")
        if roles[-1] != "assistant":
            raise ValueError(f"roles {', '.join(roles)}: the last must be 'assistant'")
        return self


@dataclass(frozen=True)
class Counter:
    """How the tokens of a text are counted.

    Attributes:
        count: returns the number of tokens of a text.
        rule: the count's name: an encoding, or the rule of an estimate.
        exact: whether it is the model's own encoding.
    """

    count: Callable[[str], int]
    rule: str
    exact: bool


@dataclass(frozen=True)
class TrainingFile:
    """A valid training file.

    Attributes:
        text: its content, JSON lines.
        tokens: of each row, in order.
        counter: how they were counted.
    """

    text: str
    tokens: tuple[int, ...]
    counter: Counter

    @cached_property
    def sha256(self) -> str:
        """Digest of the content as 64 hex digits."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def total(self) -> int:
        """Tokens of all rows."""
        return sum(self.tokens)

    def dollars(self, openai: OpenAI) -> float | None:
        """Return what the job will cost, None where the recipe states no price.

        Where the service chooses the number of epochs, it is the price of one.
        """
        if openai.dollars_per_million_tokens is None:
            return None
        epochs = 1 if openai.epochs == "auto" else openai.epochs
        return self.total * epochs * openai.dollars_per_million_tokens / 1e6


def training_file(recipe: Recipe) -> TrainingFile:
    """Make the file that a recipe describes, and find every mistake in it.

    Raises:
        RecipeError: no ``openai`` section, or windows of tokens without a tokenizer.
        DataError: a row that the service would refuse or cut, or too few rows; file and line
            are named.
    """
    openai = _section(recipe)
    counter = counter_of(recipe.model)
    lines, tokens = [], []
    for name, row in _named_rows(recipe):
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
        tokens.append(row_tokens(_checked(name, row), counter.count))
        if tokens[-1] > openai.context:
            raise DataError(
                f"{name}: {'' if counter.exact else 'about '}{tokens[-1]} tokens, more than "
                f"openai.context {openai.context}; use shorter prompts, such as fewer "
                "data.dictionaries or data.documents"
            )
    if len(lines) < MINIMUM_ROWS:
        raise DataError(
            f"{recipe.data.file or recipe.name}: {len(lines)} rows, fewer than the "
            f"{MINIMUM_ROWS} that the service asks for; "
            + ("add rows" if recipe.data.file else "raise data.samples")
        )
    return TrainingFile("".join(lines), tuple(tokens), counter)


def counter_of(model: str) -> Counter:
    """Return the model's own encoding, or an estimate where it is unknown or out of reach.

    On dictionaries of numbers and on questions over documents the estimate is 0 to 5 % above
    the count of cl100k_base and o200k_base.
    """
    try:
        encoding = tiktoken.encoding_for_model(model)
    # No such model; no network; a damaged download.
    except (KeyError, OSError, ValueError):
        return Counter(lambda text: len(_PIECES.findall(text)), ESTIMATE, exact=False)
    return Counter(lambda text: len(encoding.encode_ordinary(text)), encoding.name, exact=True)


def row_tokens(messages: Iterable[Message], count: Callable[[str], int]) -> int:
    """Return the tokens of a row as the service bills them.

    Source: ``num_tokens_from_messages`` of the OpenAI cookbook's notebook on preparing chat
    data for fine-tuning: three tokens around each message, one more for a name, three at the end.
    """
    return 3 + sum(
        3
        + count(message.role)
        + count(message.content)
        + (1 + count(message.name) if message.name else 0)
        for message in messages
    )


def _section(recipe: Recipe) -> OpenAI:
    if recipe.openai is None:
        raise RecipeError(
            f"{recipe.name}: no 'openai' section; add one, or train here with: kv-train run"
        )
    for data in recipe.sections:
        if data.tokens is not None and data.file is None:
            raise RecipeError(
                f"data.tokens {data.tokens}: a window needs the model's tokenizer, which cannot be "
                f"had for {recipe.model}; use data.dictionaries instead (not with kind 'needle')"
            )
    return recipe.openai


def _named_rows(recipe: Recipe) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the rows as they are sent, each with its place for messages."""
    rows = generate(recipe, recipe.model, form="openai")
    for row, name in zip(rows, row_names(recipe), strict=True):
        yield name, {key: row[key] for key in row if key not in _PLACE}


def _checked(name: str, row: dict[str, Any]) -> tuple[Message, ...]:
    try:
        return Row.model_validate(row).messages
    except ValidationError as error:
        problem = error.errors()[0]
    key = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        raise DataError(f"{name}: unknown key {key!r}; the service would refuse it, remove it")
    message = problem["msg"].removeprefix("Value error, ")
    found = "" if isinstance(problem["input"], dict) else f", found {problem['input']!r}"
    raise DataError(f"{name}: {key + ': ' if key else ''}{message}{found}")
