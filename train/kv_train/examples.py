"""Training and held-out rows of a recipe: generated or read from a file, then encoded."""

import itertools
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import jsonlines

from kv_tasks import training_data, training_mdqa, training_needle
from kv_tasks.errors import DataError
from kv_tasks.mdqa_prompt import question_of
from kv_tasks.training_forms import Form
from kv_train.recipe import Data, Recipe
from kv_train.tokens import Row, Tokenizer, encode

DOCUMENTS, CORPUS = 20, "nq-open-training"
_CHUNK = 64
# Characters below which further processes cost more than they save: each loads transformers.
_WORTH_PROCESSES = 50_000_000
_MOST_PROCESSES = 16


def generate(
    recipe: Recipe, model: Path | str, *, form: Form = "messages"
) -> Iterator[dict[str, Any]]:
    """Yield the training rows that a recipe describes: its ``data``, then what is mixed in.

    Args:
        recipe: the recipe.
        model: folder of the base model, whose tokenizer counts a window's tokens.
        form: of a generated row.

    Raises:
        DataError: a file's line is no JSON object, or a window is too short for its questions.
    """
    for data in recipe.sections:
        # Before minutes go into what stands above it.
        if data.file is not None and not data.file.exists():
            raise _missing(data.file)
    for data in recipe.sections:
        if data.file is not None:
            yield from read_rows(data.file)
        else:
            yield from _GENERATORS.get(data.generator, _dictionaries)(data, model, None, form)


def held_out(recipe: Recipe, model: Path | str) -> Iterator[dict[str, Any]]:
    """Yield rows like those of training, of another stream, golds even over depth.

    Of each section ``evaluation.samples``; where data is mixed, the rows say their ``kind``.
    Nothing is yielded where ``evaluation.steps`` is 0, nor of a section that reads a file and
    has no ``kind`` to ask instead.

    Raises:
        DataError: as :func:`generate`.
    """
    wanted = recipe.evaluation
    if not wanted.steps:
        return
    if wanted.file is not None:
        yield from read_rows(wanted.file)
        return
    kinds: list[str] = []
    for data in recipe.sections:
        if data.file is not None and data.kind is None:
            continue
        # Whole contexts, as many as give all the samples asked for.
        contexts = -(-wanted.samples // data.questions_per_context)
        held = contexts * data.questions_per_context
        if data.generator == "mdqa":
            rows = _documents(data, model, held, "messages", _trained_questions(recipe))
        else:
            rows = _GENERATORS.get(data.generator, _dictionaries)(data, model, held, "messages")
        kinds.append(data.generator)
        again = f"_{kinds.count(data.generator)}" if kinds.count(data.generator) > 1 else ""
        yield from (row | {"kind": data.generator + again} if recipe.mix else row for row in rows)


def row_names(recipe: Recipe) -> Iterator[str]:
    """Yield what each row of :func:`generate` is called in messages: its file and line, if any."""
    for number, data in enumerate(recipe.sections):
        key = "data" if number == 0 else f"mix.{number - 1}"
        source = f"{key}: generated row" if data.file is None else f"{data.file}, line"
        rows = range(data.samples) if data.file is None else read_rows(data.file)
        yield from (f"{source} {row}" for row, _ in enumerate(rows, start=1))


def row_weights(recipe: Recipe) -> Iterator[float]:
    """Yield the weight by which each row of :func:`generate` is held to the base model."""
    for data in recipe.sections:
        rows = range(data.samples) if data.file is None else read_rows(data.file)
        yield from (data.kl for _ in rows)


def held_out_names(recipe: Recipe) -> Iterator[str]:
    """Yield what each row of :func:`held_out` is called in messages."""
    file = recipe.evaluation.file
    source = "held-out row" if file is None else f"{file}, line"
    return (f"{source} {row}" for row in itertools.count(1))


def _dictionaries(
    data: Data, model: Path | str, held: int | None, form: Form
) -> Iterator[dict[str, Any]]:
    specification = training_data.Specification(
        kind=data.generator,
        samples=held or data.samples,
        seed=data.seed,
        dictionaries=data.dictionaries,
        tokens=data.tokens,
        shortest=data.shortest,
        tokenizer=None if data.tokens is None else str(model),
        placement="even" if held else data.placement,
        questions_per_context=data.questions_per_context,
        template=data.template,
        split="validation" if held else "train",
    )
    return training_data.rows(specification, form=form, workers=1)


def _documents(
    data: Data, model: Path | str, held: int | None, form: Form, beside: Collection[str] = ()
) -> Iterator[dict[str, Any]]:
    return training_mdqa.rows(
        samples=held or data.samples,
        documents=data.documents or DOCUMENTS,
        corpus=data.corpus or CORPUS,
        questions_per_context=data.questions_per_context,
        seed=data.seed,
        beside=beside,
        form=form,
    )


def _trained_questions(recipe: Recipe) -> set[str]:
    """Return the questions over documents that any section trains on.

    Of all corpora, since a large one contains the small one.
    """
    found: set[str] = set()
    for data in recipe.sections:
        if data.file is not None:
            # Whatever else a row may hold: what is wrong with it is said when it is encoded.
            texts = (str(m) for row in read_rows(data.file) for m in _contents(row))
            found |= {question for text in texts if (question := question_of(text)) is not None}
        elif data.generator == "mdqa":
            found |= training_mdqa.questions(
                samples=data.samples,
                corpus=data.corpus or CORPUS,
                questions_per_context=data.questions_per_context,
                seed=data.seed,
            )
    return found


def _needles(
    data: Data, model: Path | str, held: int | None, form: Form
) -> Iterator[dict[str, Any]]:
    return training_needle.rows(
        samples=held or data.samples,
        tokens=data.tokens,
        shortest=data.shortest,
        tokenizer=str(model),
        questions_per_context=data.questions_per_context,
        text=data.text,
        seed=data.seed,
        split="validation" if held else "train",
        form=form,
    )


_GENERATORS = {"mdqa": _documents, "needle": _needles}


def _contents(row: Mapping[str, Any]) -> Iterator[Any]:
    messages = row.get("messages")
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, Mapping):
            yield message.get("content")


def read_rows(path: Path, key: str = "messages") -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON lines file, naming the line that cannot be read.

    ``key`` is what each of them should have, for the message about an empty file.
    """
    empty = True
    try:
        with jsonlines.open(path) as reader:
            for number, row in enumerate(reader.iter(type=dict), start=1):
                empty = False
                _refuse_halves(row, f"{path}, line {number}")
                yield row
    except FileNotFoundError as error:
        raise _missing(path) from error
    except jsonlines.InvalidLineError as error:
        raise DataError(f"{path}, line {error.lineno}: expected one JSON object") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a text in UTF-8 ({error.reason}); save it as one") from error
    if empty:
        raise DataError(f"{path}: no rows; expected JSON lines with {key!r}")


def _refuse_halves(row: Mapping[str, Any], name: str) -> None:
    """Refuse what JSON can write and no text can hold, before it is written again."""
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise DataError(
            f"{name}: {half!r} is half a character, which no text has; take it out"
        ) from error


def _missing(path: Path) -> DataError:
    return DataError(
        f"{path}: no such file; write one, the base model's own answers (mix) with: kv-train "
        "own-answers MODEL --out FILE, prompts to learn from with: kv-tasks data --out FILE"
    )


def encode_rows(
    tokenizer: Tokenizer,
    rows: Iterable[Mapping[str, Any]],
    names: Iterable[str],
    *,
    max_length: int,
    template_kwargs: Mapping[str, Any] | None = None,
    beside: int = 1,
) -> list[Row]:
    """Encode all rows; the first that cannot be trained on stops with its name.

    Long ones are shared among the processor's cores: 10,000 rows of 4,000 tokens take one core
    over two minutes.

    Args:
        tokenizer: a fast tokenizer with a chat template.
        rows: chat messages.
        names: of the rows, one each, for messages.
        max_length: the most tokens a row may have.
        template_kwargs: what the chat template is called with.
        beside: processes that do the same on these cores.
    """
    named = list(zip(rows, names, strict=True))
    encoded = partial(encode, max_length=max_length, template_kwargs=template_kwargs)
    cores = min(_MOST_PROCESSES, len(os.sched_getaffinity(0)) // beside)
    letters = sum(len(str(text)) for row, _ in named for text in _contents(row))
    if cores < 2 or letters < _WORTH_PROCESSES:
        return [encoded(tokenizer, row, name=name) for row, name in named]
    chunks = [named[start : start + _CHUNK] for start in range(0, len(named), _CHUNK)]
    # A spawned process has no locks and threads of this one, and no GPU. It keeps the encoder,
    # whose tokenizer takes longer to send than a chunk to encode.
    with ProcessPoolExecutor(
        cores,
        mp_context=get_context("spawn"),
        initializer=_keep,
        initargs=(partial(encoded, tokenizer),),
    ) as pool:
        return [row for chunk in pool.map(_encode_chunk, chunks) for row in chunk]


class _Kept:
    """What a process of :func:`encode_rows` encodes with."""

    encoder: Callable[..., Row]


def _keep(encoder: Callable[..., Row]) -> None:
    _Kept.encoder = staticmethod(encoder)


def _encode_chunk(named: Sequence[tuple[Mapping[str, Any], str]]) -> list[Row]:
    return [_Kept.encoder(row, name=name) for row, name in named]
