"""Training rows of a recipe: generated or read from a file, then encoded and packed."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonlines

from kv_tasks.errors import DataError
from kv_tasks.training_data import Specification, rows
from kv_train.recipe import Data
from kv_train.tokens import Row, Tokenizer, encode


def generate(data: Data, model: Path) -> Iterator[dict[str, Any]]:
    """Yield the chat-message rows that a recipe's ``data`` section describes.

    Args:
        data: the section.
        model: folder of the base model, whose tokenizer counts a window's tokens.

    Raises:
        DataError: a file's line is no JSON object, or a window is too short for its questions.
    """
    if data.file is not None:
        yield from read_rows(data.file)
        return
    yield from rows(
        Specification(
            kind=data.kind,
            samples=data.samples,
            seed=data.seed,
            dictionaries=data.dictionaries,
            tokens=data.tokens,
            shortest=data.shortest,
            tokenizer=None if data.tokens is None else str(model),
            placement=data.placement,
            questions_per_context=data.questions_per_context,
            template=data.template,
        ),
        workers=1,
    )


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON lines file, naming the line that cannot be read."""
    empty = True
    try:
        with jsonlines.open(path) as reader:
            for row in reader.iter(type=dict):
                empty = False
                yield row
    except FileNotFoundError as error:
        raise DataError(
            f"{path}: no such file; write one with: kv-tasks data --out FILE"
        ) from error
    except jsonlines.InvalidLineError as error:
        raise DataError(f"{path}, line {error.lineno}: expected one JSON object") from error
    if empty:
        raise DataError(f"{path}: no rows; expected JSON lines with 'messages'")


def encode_rows(
    tokenizer: Tokenizer, rows: Iterable[Mapping[str, Any]], *, source: str, max_length: int
) -> list[Row]:
    """Encode all rows; the first that cannot be trained on stops with its file and line."""
    return [
        encode(tokenizer, row, name=f"{source}, line {line}", max_length=max_length)
        for line, row in enumerate(rows, start=1)
    ]
