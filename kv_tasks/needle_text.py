"""Needles, and the running text that they are hidden in.

Three lines of a haystack, the second a needle:

    Its twin town is Primdale, which sends a fir tree for the main square every winter since 1987.
    The special magic Paris number is: 6818260.
    The oldest street is Zeardell Lane, where three houses from before the great fire are still ...

The text is the part of the generated encyclopedia that no task evaluates, 3,533 sentences of 18
words, or a file of the user's. A haystack that outgrows its text repeats it.
"""

import itertools
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kv_tasks.corpora import load_corpus
from kv_tasks.errors import DataError
from kv_tasks.files import read_text
from kv_tasks.flenqa_text import sentences

# Sentences of a haystack without end, the same ones for the same random numbers.
Text = Callable[[random.Random], Iterator[str]]

CORPUS = "encyclopedia-training"
INSTRUCTION = "Answer the question at the end from the text below."
# No name is part of another, so that a search for one finds nothing else.
_NAMES = (
    "Aberdeen, Accra, Adelaide, Algiers, Amsterdam, Ankara, Antwerp, Athens, Auckland, Baghdad, "
    "Bangkok, Barcelona, Beirut, Belgrade, Bergen, Berlin, Bordeaux, Boston, Bratislava, "
    "Brisbane, Brussels, Bucharest, Budapest, Buenos Aires, Cairo, Cape Town, Caracas, "
    "Casablanca, Chicago, Copenhagen, Dakar, Damascus, Delhi, Denver, Dhaka, Dublin, Edinburgh, "
    "Florence, Geneva, Glasgow, Gothenburg, Hamburg, Hanoi, Harare, Havana, Helsinki, Honolulu, "
    "Istanbul, Jakarta, Johannesburg, Kampala, Karachi, Kathmandu, Kuala Lumpur, Kyoto, "
    "La Paz, Lagos, Lima, Lisbon, Ljubljana, London, Luanda, Lusaka, Lyon, Madrid, Manila, "
    "Marseille, Melbourne, Mexico City, Milan, Montevideo, Montreal, Moscow, Mumbai, Munich, "
    "Nairobi, Naples, New Orleans, Osaka, Oslo, Ottawa, Paris, Philadelphia, Porto, Prague, "
    "Quito, Reykjavik, Riga, Rotterdam, San Francisco, Santiago, Seattle, Seoul, Seville, "
    "Shanghai, Singapore, Sofia, Stockholm, Sydney, Tallinn, Tashkent, Tbilisi, Tokyo, Toronto, "
    "Tunis, Turin, Valencia, Vancouver, Vienna, Vilnius, Warsaw, Wellington, Yerevan, Zagreb, "
    "Zurich"
)
CITIES = tuple(_NAMES.split(", "))
_PARAGRAPHS = re.compile(r"\n\s*\n")
# A sentence of the text that says this could pass for a needle.
_MAGIC = re.compile(r"special\s+magic", re.IGNORECASE)


@dataclass(frozen=True)
class Needle:
    """A fact that no text but the haystack can tell."""

    city: str
    number: int

    @property
    def sentence(self) -> str:
        """What stands in the haystack."""
        return f"The special magic {self.city} number is: {self.number}."

    @property
    def question(self) -> str:
        """What is asked."""
        return f"What is the special magic {self.city} number?"

    @property
    def answer(self) -> str:
        """What is trained."""
        return f"The special magic {self.city} number is {self.number}."


def prompt(lines: Sequence[str], question: str) -> str:
    """Return the whole prompt; those of a haystack differ in the city at their end only."""
    block = "\n".join(lines)
    return f"{INSTRUCTION}\n\n{block}\n\n{question}"


def running_text(file: Path | None) -> Text:
    """Return the text of haystacks, read and cut into sentences once.

    Args:
        file: UTF-8 text, for example essays; a haystack begins at a random sentence and goes
            on at the first where the file ends. None for entries of the encyclopedia in random
            order, their sentences kept in theirs.

    Raises:
        DataError: when the file cannot be read as UTF-8 text, or has no sentence.
    """
    return _entries() if file is None else _file(file)


def _entries() -> Text:
    entries = [_usable(entry.text) for entry in load_corpus(CORPUS).questions]

    def text(rng: random.Random) -> Iterator[str]:
        while True:
            for entry in rng.sample(entries, len(entries)):
                yield from entry

    return text


def _file(file: Path) -> Text:
    paragraphs = _PARAGRAPHS.split(read_text(file, "text"))
    found = [sentence for paragraph in paragraphs for sentence in _usable(paragraph)]
    if not found:
        raise DataError(f"text {file}: no sentence in it; name a .txt file of prose")

    def text(rng: random.Random) -> Iterator[str]:
        start = rng.randrange(len(found))
        return itertools.cycle(found[start:] + found[:start])

    return text


def _usable(paragraph: str) -> list[str]:
    return [sentence for sentence in sentences(paragraph) if not _MAGIC.search(sentence)]
