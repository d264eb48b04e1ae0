"""A generated encyclopedia: a corpus for multi-document questions that needs no data.

One entry, shortened, with its question and answer:

    Selora Dranvane (1812–1879) was an engraver, remembered above all for a long series of
    harbour views. In 1851 she sailed south aboard the Tolbrisa, a survey ship, and filled six
    notebooks on the way. She is buried in the village of Grelmere, ...

    where is selora dranvane buried        Grelmere

Everything named is invented. No name word occurs twice in the corpus or in any sentence
template, so that an answer stands in its own entry only. The sentences after the opening are
shuffled: an answer has no usual place.
"""

import random
import re
from functools import lru_cache

from kv_tasks.encyclopedia_facts import KINDS, NAMES, WORDS, Fact, Kind
from kv_tasks.questions import Question

# An entry is finished by the fact that reaches this; the longest fact has 21 words.
WORDS_AN_ENTRY = 92
LONG_NAMES = 0.3

_SHORT_ONSETS = tuple("bdgklmnrstvz")
_CLUSTERS = ("br", "dr", "fl", "gl", "gr", "kl", "kr", "pl", "pr", "sk", "st", "th", "tr")
_ONSETS: tuple[str, ...] = (*_SHORT_ONSETS, *"fhjpwy", *_CLUSTERS)
_VOWELS: tuple[str, ...] = (*"aeiou", "ai", "ea")
_CODAS: tuple[str, ...] = ("", *"lmnr")
# An ending tells a town from a surname; all begin with a consonant, as stems can end in a vowel.
_ENDINGS = {
    "first": ("ric", "wen", "bella", "via", "mund", "lis", "dan", "neth"),
    "surname": ("sk", "vane", "rick", "tov", "lund", "quist", "mar", "dell"),
    "town": ("mere", "holm", "wick", "stead", "by", "haven", "dale", "burg"),
    "place": ("mar", "dor", "lin", "nesse", "vale"),
    "river": ("ra", "len", "va", "nis"),
    "ship": ("sa", "tine", "dra"),
    "dish": ("zola", "bert", "chet"),
    "product": ("tix", "graph", "lux", "dyne"),
}
_BLANK = re.compile(r"\{(\w+)\}")
_PRONOUNS = (
    {"he": "he", "He": "He", "his": "his", "His": "His", "him": "him"},
    {"he": "she", "He": "She", "his": "her", "His": "Her", "him": "her"},
)


class _Names:
    """Pronounceable names, each word of which is given out once."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._used = set(_template_words())

    def word(self, kind: str) -> str:
        """Return a new single-word name of a kind of ``_ENDINGS``."""
        rng = self._rng
        while True:
            stem = rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS)
            if rng.random() < LONG_NAMES:
                stem += rng.choice(_SHORT_ONSETS) + rng.choice(_VOWELS)
            name = stem + rng.choice(_ENDINGS[kind])
            if name not in self._used:
                self._used.add(name)
                return name.capitalize()


class _Writer:
    """Fills the blanks of one entry, keeping what must hold throughout it."""

    def __init__(self, rng: random.Random, names: _Names) -> None:
        self._rng = rng
        self._names = names
        begun = rng.randrange(1740, 1880)
        died = begun + rng.randrange(12, 40)
        self.own = {
            "begun": str(begun),
            "born": str(begun - rng.randrange(24, 40)),
            "died": str(died),
            **rng.choice(_PRONOUNS),
        }
        self._numbers = {
            "year": range(begun, died),
            "later": range(begun + 3, begun + 30),
            "past": range(1120, 1480),
            "recent": range(1955, 2005),
            "modern": range(1931, 1962),
            "thousands": range(3, 60),
        }

    def fill(self, template: str, **more: str) -> str:
        """Return ``template`` with every blank filled."""
        return _BLANK.sub(lambda blank: more.get(blank[1]) or self.value(blank[1]), template)

    def value(self, blank: str) -> str:
        """Return what stands for one blank; all but the entry's own is drawn anew."""
        if blank in self.own:
            return self.own[blank]
        if blank in NAMES:
            return self.fill(self._rng.choice(NAMES[blank]))
        if blank in WORDS:
            return self._rng.choice(WORDS[blank])
        if blank in self._numbers:
            return str(self._rng.choice(self._numbers[blank]))
        return self._names.word(blank)

    def sentence(self, fact: Fact) -> tuple[str, str]:
        """Return a sentence that states ``fact``, and the answer in it."""
        answer = self.value(fact.answer)
        return self.fill(self._rng.choice(fact.sentences), answer=answer), answer


@lru_cache(maxsize=4)
def entries(seed: int = 0, count: int = 1000) -> tuple[Question, ...]:
    """Return ``count`` entries of about 100 words, each with one question.

    A smaller count gives the first entries of a larger one.

    Args:
        seed: another seed is another encyclopedia.
        count: number of entries.
    """
    rng = random.Random(f"encyclopedia:{seed}")
    names = _Names(rng)
    return tuple(_entry(rng, names, f"encyclopedia-{seed}-{n:04d}") for n in range(count))


def _entry(rng: random.Random, names: _Names, question_id: str) -> Question:
    kind = rng.choice(KINDS)
    writer = _Writer(rng, names)
    title = writer.own["title"] = writer.fill(rng.choice(kind.titles))
    asked, *others = rng.sample(kind.facts, len(kind.facts))
    statement, answer = writer.sentence(asked)
    question = writer.fill(rng.choice(asked.questions)).lower()
    text = _text(rng, writer, kind, statement, others)
    return Question(question_id, question, (answer,), title, text)


def _text(
    rng: random.Random, writer: _Writer, kind: Kind, statement: str, others: list[Fact]
) -> str:
    """Return the opening and, in random order, ``statement`` and as many facts as it takes."""
    opening = writer.fill(rng.choice(kind.openings))
    body = [statement]
    for fact in others:
        if len(" ".join([opening, *body]).split()) >= WORDS_AN_ENTRY:
            break
        body.append(writer.sentence(fact)[0])
    rng.shuffle(body)
    return " ".join([opening, *body])


@lru_cache(maxsize=1)
def _template_words() -> frozenset[str]:
    """Return all words that a name must not be, since sentences use them."""
    facts = [fact for kind in KINDS for fact in kind.facts]
    texts = [text for kind in KINDS for text in (*kind.titles, *kind.openings)]
    texts += [text for fact in facts for text in (*fact.questions, *fact.sentences)]
    texts += [text for table in (NAMES, WORDS) for row in table.values() for text in row]
    return frozenset(re.findall(r"[a-z]+", " ".join(texts).lower()))
