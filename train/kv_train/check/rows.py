"""The rows of a recipe as a training would read them, with what is wrong in each.

Unlike a training, this does not stop at the first row that cannot be used.
"""

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, repeat
from typing import Any

from kv_tasks.errors import KVError
from kv_tasks.tokens import writes_date
from kv_train.check.findings import Finding
from kv_train.check.model import Model
from kv_train.longrope import SERVED, TOGETHER, astride, shorter
from kv_train.packing import Pack, pack_rows
from kv_train.recipe import Recipe
from kv_train.tokens import Row, Tokenizer, context_of, encode, unembedded

# Failing rows that are listed one by one.
LISTED = 5
BINS = 10
# Tokens shown at either end of a prompt.
SHOWN = 80
# Rows of any length are encoded, so that those too long are counted and measured.
_ANY_LENGTH = 2**31


@dataclass(frozen=True)
class Rows:
    """Rows that were read, and those of them that could be encoded.

    Attributes:
        contexts: how many consecutive rows share each haystack.
        encoded: in order.
        packs: of the encoded rows.
        findings: what cannot be used.
    """

    contexts: tuple[int, ...]
    encoded: tuple[Row, ...]
    packs: tuple[Pack, ...]
    findings: tuple[Finding, ...]

    @property
    def count(self) -> int:
        """How many were read."""
        return sum(self.contexts)

    def pack_count(self, questions_per_pack: int) -> int:
        """Return how many packs the rows make, were each of them usable."""
        return sum(-(-rows // questions_per_pack) for rows in self.contexts)


def gather(
    rows: Iterable[Mapping[str, Any]],
    recipe: Recipe,
    model: Model,
    *,
    key: str,
    names: Iterable[str],
    weights: Iterable[float] = repeat(0.0),
) -> Rows:
    """Read and encode rows.

    Args:
        rows: chat messages, see :mod:`kv_train.examples`.
        recipe: how they are encoded and packed.
        model: whose tokenizer encodes them, if it has one.
        key: of the recipe, for what is wrong with all of them.
        names: what each row is called; as many as there are rows, or more.
        weights: by which each row is held to the base model; as many.
    """
    read, findings = _read(rows, key)
    named = list(zip(read, names, weights, strict=False))
    ids = [context_of(row, name) for row, name, _ in named]
    made: list[Row | Finding] = []
    if model.tokenizer is not None:
        options = recipe.data.chat_template_kwargs
        made = [_encode(model.tokenizer, row, name, kl, options) for row, name, kl in named]
    failures = [one for one in made if isinstance(one, Finding)]
    findings += failures[:LISTED]
    if len(failures) > LISTED:
        findings.append(Finding("error", key, f"{len(failures) - LISTED} more rows fail"))
    encoded = tuple(one for one in made if isinstance(one, Row))
    if model.tokenizer and key == "data" and made and isinstance(made[0], Row):
        findings += _opening(model.tokenizer, read[0], made[0])
        findings += _beginning(model.tokenizer, made[0])
        findings += _clock(model.tokenizer, recipe.data.chat_template_kwargs)
    packs = pack_rows(encoded, questions_per_pack=recipe.training.questions_per_pack)
    if model.shapes is not None:
        findings += _longrope(packs, recipe, model.shapes.switch, key)
        beyond = ((row.name, unembedded(row, model.shapes.vocabulary)) for row in encoded)
        findings += [Finding("error", name, found) for name, found in beyond if found][:1]
    return Rows(
        contexts=tuple(len(list(group)) for _, group in groupby(ids)),
        encoded=encoded,
        packs=tuple(packs),
        findings=tuple(findings),
    )


def _read(
    rows: Iterable[Mapping[str, Any]], key: str
) -> tuple[list[Mapping[str, Any]], list[Finding]]:
    """Return the rows up to the first that is no row, and what ended them."""
    read: list[Mapping[str, Any]] = []
    try:
        for row in rows:
            read.append(row)  # noqa: PERF402 - those read before an error count
    except KVError as error:
        return read, [Finding("error", key, str(error))]
    return read, []


def _encode(
    tokenizer: Tokenizer, row: Mapping[str, Any], name: str, kl: float, options: Mapping[str, Any]
) -> Row | Finding:
    try:
        made = encode(tokenizer, row, name=name, max_length=_ANY_LENGTH, template_kwargs=options)
        return replace(made, kl=kl)
    except KVError as error:
        return Finding("error", name, str(error).removeprefix(f"{name}: "))


def _opening(tokenizer: Tokenizer, row: Mapping[str, Any], encoded: Row) -> Iterator[Finding]:
    """Find what the chat template puts before an answer, such as empty thoughts."""
    start, end = encoded.spans[-1]
    trained = str(tokenizer.decode(encoded.input_ids[start:end]))
    words = row["messages"][-1]["content"].strip()
    opening = trained.partition(words)[0].strip()
    if words in trained and opening:
        yield Finding(
            "warning", "data.chat_template_kwargs",
            f"the chat template begins every answer with {opening!r}, which is trained, too",
            "the tasks score an answer's first line: if these are thoughts, switch them off, as by "
            "{enable_thinking: false}",
        )  # fmt: skip


def _beginning(tokenizer: Tokenizer, encoded: Row) -> Iterator[Finding]:
    """Find a first token that the harness adds to a chat and neither training nor servers do."""
    first = tokenizer("a")["input_ids"][0]
    if first in tokenizer.all_special_ids and encoded.input_ids[0] != first:
        token = tokenizer.decode([first])
        yield Finding(
            "warning", "model",
            f"its chat template leaves out {token}, with which its tokenizer begins a text: "
            "trained and served without it, evaluated with it",
            f"save a chat_template.jinja that begins with {token} beside the tokenizer",
        )  # fmt: skip


def _clock(tokenizer: Tokenizer, options: Mapping[str, Any]) -> Iterator[Finding]:
    """Find a chat template that writes the date: another day makes other tokens."""
    if writes_date(tokenizer, **options):
        yield Finding(
            "warning", "data.chat_template_kwargs",
            "the chat template writes today's date: trained, evaluated and served on different "
            "days, prompts differ",
            "give the date, as by {date_string: 26 Jul 2024}, or save a chat_template.jinja that "
            "asks for none",
        )  # fmt: skip


def _longrope(
    packs: Sequence[Pack], recipe: Recipe, switch: int | None, key: str
) -> Iterator[Finding]:
    """Find rows that longrope would compute otherwise than alone, or than vLLM serves them."""
    if reason := astride(packs, switch, recipe.training.packs_per_batch):
        yield Finding("error", key, reason, TOGETHER)
    elif key == "data" and shorter(packs, switch):
        yield Finding(
            "warning", key, f"some rows are of {switch} tokens or fewer, {SERVED}",
            f"train on rows of more than {switch} tokens, or serve and evaluate with "
            f"--max-length {switch}",
        )  # fmt: skip


@dataclass(frozen=True)
class Bin:
    """Rows of ``start`` to ``end`` tokens, both inclusive."""

    start: int
    end: int
    rows: int


@dataclass(frozen=True)
class Lengths:
    """How long rows are, in tokens."""

    shortest: int
    median: float
    longest: int
    histogram: tuple[Bin, ...]


def lengths(rows: Sequence[Row]) -> Lengths:
    """Return the distribution of row lengths, in at most ten bins of a round width."""
    found = [len(row.input_ids) for row in rows]
    low, high = min(found), max(found)
    widths = (digit * 10**power for power in range(10) for digit in (1, 2, 5))
    width = next(width for width in widths if high // width - low // width < BINS)
    starts = range(low // width * width, high + 1, width)
    return Lengths(
        low,
        statistics.median(found),
        high,
        tuple(
            Bin(start, start + width - 1, sum(start <= n < start + width for n in found))
            for start in starts
        ),
    )


@dataclass(frozen=True)
class Piece:
    """A part of a row: its text, or how many tokens are left out; whether it is trained."""

    text: str
    left_out: int = 0
    trained: bool = False


def example(tokenizer: Tokenizer, row: Row) -> tuple[Piece, ...]:
    """Return a row as the model reads it, special tokens included, without its long middle."""
    pieces: list[Piece] = []
    end = 0
    for span in row.spans:
        pieces += _untrained(tokenizer, row, end, span[0])
        pieces.append(Piece(_text(tokenizer, row, *span), trained=True))
        end = span[1]
    return tuple(pieces)


def _untrained(tokenizer: Tokenizer, row: Row, start: int, end: int) -> list[Piece]:
    left_out = end - start - 2 * SHOWN
    if left_out <= SHOWN:
        return [Piece(_text(tokenizer, row, start, end))]
    return [
        Piece(_text(tokenizer, row, start, start + SHOWN)),
        Piece("", left_out=left_out),
        Piece(_text(tokenizer, row, end - SHOWN, end)),
    ]


def _text(tokenizer: Tokenizer, row: Row, start: int, end: int) -> str:
    """Decode tokens as they read behind those before them: some tokenizers drop a first space."""
    before, whole = (
        str(tokenizer.decode(row.input_ids[:stop], skip_special_tokens=False))
        for stop in (start, end)
    )
    return whole[len(before) :]
