"""Running text for padding: generated sentences about a town, or sentences of the user's file.

Three generated sentences:

    Before the market opened, the ferryman carried two barrels of cider to the mill. The road
    to the harbour was empty until noon. At the inn nobody spoke of the frost.

They are about nobody in particular and name nobody, so that they cannot say anything about the
people and rooms of a problem. No sentence occurs twice in the stream.
"""

import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from kv_tasks.errors import DataError
from kv_tasks.files import read_text
from kv_tasks.flenqa_phrases import PATTERNS, WORDS

_BLANK = re.compile(r"\{(\w+)\}")
_WORD = re.compile(r"\w+")
_WHITE_SPACE = re.compile(r"\s+")
# A full stop, question or exclamation mark, perhaps a closing quotation mark, and then a space
# and what can begin a sentence.
_BORDER = re.compile(r"(?<=[.!?])[\"'”’)]?\s+(?=[\"'“‘(]?[A-Z0-9])")
_ABBREVIATION = re.compile(r"\b(?:[A-Z]|Mr|Mrs|Ms|Dr|St|No|vs|etc|Messrs|Gen|Col)\.$")


def generated(seed: str) -> Iterator[str]:
    """Yield different sentences without end, the same ones for the same seed."""
    rng = random.Random(seed)
    seen: set[str] = set()
    while True:
        sentence = _filled(rng, rng.choice(PATTERNS))
        if sentence not in seen:
            seen.add(sentence)
            yield sentence


def _filled(rng: random.Random, pattern: str) -> str:
    """Return a pattern with its blanks filled, no phrase twice, and a capital in front."""
    used: set[str] = set()

    def phrase(blank: re.Match[str]) -> str:
        words = rng.choice([words for words in WORDS[blank[1]] if words not in used])
        used.add(words)
        return _BLANK.sub(phrase, words)

    text = _BLANK.sub(phrase, pattern)
    return text[0].upper() + text[1:]


def sentences(text: str) -> list[str]:
    """Cut running text at the ends of sentences; line breaks become spaces."""
    found: list[str] = []
    for piece in _pieces(_WHITE_SPACE.sub(" ", text).strip()):
        if found and _ABBREVIATION.search(found[-1]):
            found[-1] = f"{found[-1]} {piece}"
        else:
            found.append(piece)
    return found


def _pieces(text: str) -> Iterator[str]:
    start = 0
    for border in _BORDER.finditer(text):
        closing = border[0].rstrip()
        yield text[start : border.start()] + closing
        start = border.end()
    if text[start:]:
        yield text[start:]


def from_file(path: Path, without: Sequence[str]) -> list[str]:
    """Return the sentences of a UTF-8 text file that hold none of the words ``without``.

    Raises:
        DataError: when the file cannot be read as UTF-8 text, or has no such sentence.
    """
    text = read_text(path, "padding_text")
    forbidden = frozenset(without)
    found = [s for s in sentences(text) if forbidden.isdisjoint(_WORD.findall(s))]
    if not found:
        raise DataError(f"padding_text {path}: no sentence in it; name a .txt file of prose")
    return found
