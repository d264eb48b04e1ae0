"""The three kinds of FLenQA problem (Levy et al., arXiv 2402.14848, section 3), generated.

One problem of each kind, the key sentences only, with its question and label:

    Laura Burton is taller than Elaine Gibson. ... Elaine Gibson is taller than Paul Dixon. ...
    Is Laura Burton taller than Paul Dixon?                                              True

    Megan Burton's pantry is red-walled. ... Carl Hewitt is in Megan Burton's pantry. ...
    Is Carl Hewitt in a blue-walled room?                                                False

    If X is kind and X is tidy then X is rich. Joel Ryan is kind. ... Joel Ryan is tidy. ...
    Joel Ryan is rich                                                                    True

Each key sentence opens a paragraph that says nothing further. The structure of the problems is
the paper's; names, words and sentences are this project's.
"""

import itertools
import random
import string
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from kv_tasks.flenqa_words import (
    ADJECTIVES,
    COMPARATIVES,
    COMPARISON_SENTENCES,
    FIRST_NAMES,
    PRESENCE_SENTENCES,
    PROPERTIES,
    ROOM_SENTENCES,
    ROOMS,
    SURNAMES,
    TRAIT_SENTENCES,
)

Kind = Literal["MonoRel", "PIR", "Simplified RuleTaker"]
Side = Literal["key", "padding"]

# A paragraph is finished by the sentence that reaches this; the mean is about 35.
WORDS_A_PARAGRAPH = 28


@dataclass(frozen=True)
class Problem:
    """A problem before any padding.

    Attributes:
        kind: as the published rows name it in ``dataset``.
        label: whether the question's answer is True.
        facts: the two key sentences, without a full stop, in the order they are shown.
        paragraphs: the two key paragraphs, each of which opens with its fact.
        question: the question or assertion.
        rule: the rule of the RuleTaker kind, None for the others.
    """

    kind: Kind
    label: bool
    facts: Sequence[str]
    paragraphs: Sequence[str]
    question: str
    rule: str | None = None


def people(side: Side, rng: random.Random) -> Iterator[str]:
    """Yield different full names; no word of a name is on both sides.

    They are first and last names, in random order; when those run out, with a middle initial,
    then with two, and so on.
    """
    first, last = names(side)
    pairs = [(f, s) for f in first for s in last]
    rng.shuffle(pairs)
    for count in itertools.count():
        for initials in itertools.product(string.ascii_uppercase, repeat=count):
            middle = "".join(f"{initial}. " for initial in initials)
            for forename, surname in pairs:
                yield f"{forename} {middle}{surname}"


def names(side: Side) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the first and last names of key facts, or those of padding."""
    offset = 0 if side == "key" else 1
    return FIRST_NAMES[offset::2], SURNAMES[offset::2]


def key_problem(seed: int, index: int) -> Problem:
    """Return problem number ``index``, which depends on the seed and the number alone.

    Kinds take turns and so do labels: six in a row hold every kind with every label.
    """
    rng = random.Random(f"flenqa-problem:{seed}:{index}")
    first, last = names("key")
    drawn = zip(rng.sample(first, 3), rng.sample(last, 3), strict=True)
    kind = tuple(MAKERS)[index % len(MAKERS)]
    return MAKERS[kind](rng, (f"{f} {s}" for f, s in drawn), index % 2 == 0)


def padding_paragraphs(kind: Kind, seed: int) -> Iterator[str]:
    """Yield key paragraphs of other problems of a kind, about people of the padding's side.

    Everyone occurs in one problem only, so that no two paragraphs contradict each other. The
    paragraphs are shuffled within small groups: the two of a problem seldom stand together.
    """
    rng = random.Random(f"flenqa-same:{seed}:{kind}")
    everyone = people("padding", rng)
    while True:
        group: list[str] = []
        for _ in range(16):
            group += MAKERS[kind](rng, everyone, rng.random() < 0.5).paragraphs
        rng.shuffle(group)
        yield from group


def _monorel(rng: random.Random, everyone: Iterator[str], label: bool) -> Problem:
    top, middle, bottom = (next(everyone) for _ in range(3))
    relation = rng.choice(COMPARATIVES)
    told = [(top, middle), (middle, bottom)]
    rng.shuffle(told)
    facts = [f"{one} is {relation} than {other}" for one, other in told]
    texts = [
        _paragraph(rng, fact, COMPARISON_SENTENCES, first=one, second=other)
        for fact, (one, other) in zip(facts, told, strict=True)
    ]
    asked, than = (top, bottom) if label else (bottom, top)
    return Problem("MonoRel", label, facts, texts, f"Is {asked} {relation} than {than}?")


def _pir(rng: random.Random, everyone: Iterator[str], label: bool) -> Problem:
    person, owner = next(everyone), next(everyone)
    room = f"{owner}'s {rng.choice(ROOMS)}"
    stated, other = rng.sample(rng.choice(PROPERTIES), 2)
    told = [
        (f"{room} is {stated}", ROOM_SENTENCES, room),
        (f"{person} is in {room}", PRESENCE_SENTENCES, person),
    ]
    rng.shuffle(told)
    texts = [_paragraph(rng, fact, more, first=first) for fact, more, first in told]
    question = f"Is {person} in a {stated if label else other} room?"
    return Problem("PIR", label, [fact for fact, _, _ in told], texts, question)


def _ruletaker(rng: random.Random, everyone: Iterator[str], label: bool) -> Problem:
    person = next(everyone)
    one, two, derived, beside = rng.sample(ADJECTIVES, 4)
    # Without one of its conditions the rule says nothing of the person.
    told = [one, two] if label else [rng.choice([one, two]), beside]
    rng.shuffle(told)
    facts = [f"{person} is {adjective}" for adjective in told]
    texts = [
        _paragraph(rng, fact, TRAIT_SENTENCES, first=person, property=adjective)
        for fact, adjective in zip(facts, told, strict=True)
    ]
    rule = f"If X is {one} and X is {two} then X is {derived}."
    question = f"{person} is {derived}"
    return Problem("Simplified RuleTaker", label, facts, texts, question, rule)


MAKERS: dict[Kind, Callable[[random.Random, Iterator[str], bool], Problem]] = {
    "MonoRel": _monorel,
    "PIR": _pir,
    "Simplified RuleTaker": _ruletaker,
}


def _paragraph(rng: random.Random, fact: str, more: Sequence[str], **blanks: str) -> str:
    """Return the key sentence and as many others, none twice, as a paragraph takes."""
    text = f"{fact}."
    for sentence in rng.sample(more, len(more)):
        if len(text.split()) >= WORDS_A_PARAGRAPH:
            break
        text += " " + sentence.format(fact=fact, **blanks)
    return text
