"""Training on multi-document questions themselves: the paper's baseline for its synthetic data.

One row, shortened:

    {"messages": [{"role": "user", "content": "Write a high-quality answer for the ..."},
                  {"role": "assistant", "content": "Wilhelm Conrad Röntgen"}],
     "context_id": "nq-open-0017", "gold_position": 12, "depth": 0.579}

Questions and documents are those that no task evaluates (:mod:`kv_tasks.corpora`). Gold
positions are balanced: every prefix of the rows covers them evenly. The answer is one that the
gold document states word for word; training on another would teach to answer from memory.

With ``encyclopedia-training`` (650 questions) and ``encyclopedia-training-large`` (8,000)
everything named is invented: retrieval in natural language that teaches no facts either. Several
questions may be asked over the same documents, each of another one; no document answers two of
them.
"""

import random
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from kv_tasks.corpora import TRAINING_CORPORA, load_corpus
from kv_tasks.dictionaries import gold_places
from kv_tasks.errors import UsageError
from kv_tasks.mdqa import distractors
from kv_tasks.mdqa_prompt import prompt
from kv_tasks.normalize import contains_answer, normalize
from kv_tasks.questions import Corpus, Question
from kv_tasks.training_forms import Form, place, shaped

Asked = tuple[Question, str]
"""A question with the answer that its gold document states."""


def rows(
    *,
    samples: int,
    documents: int,
    corpus: str,
    questions_per_context: int = 1,
    seed: int = 0,
    beside: Collection[str] = (),
    form: Form = "messages",
) -> Iterator[dict[str, Any]]:
    """Yield training rows, each of another question.

    Args:
        samples: number of rows.
        documents: in each prompt, the gold one included.
        corpus: one of :data:`kv_tasks.corpora.TRAINING_CORPORA`.
        questions_per_context: questions over the same documents.
        seed: of the order of questions, the gold positions and the distractors.
        beside: questions that are asked elsewhere, see :func:`questions`, and left out here.
        form: see :func:`kv_tasks.training_forms.shaped`.

    Raises:
        UsageError: when the corpus is evaluated, has fewer questions, or the samples are no
            whole contexts.
        DataError: when the corpus cannot be had, or has too few documents.
    """
    if corpus not in TRAINING_CORPORA:
        raise UsageError(f"corpus {corpus!r}: choose one of {', '.join(TRAINING_CORPORA)}")
    if not 1 <= questions_per_context <= documents:
        raise UsageError(
            f"questions_per_context {questions_per_context}: choose 1 to documents, {documents}; "
            "each question needs a document of its own"
        )
    if samples % questions_per_context:
        raise UsageError(
            f"samples {samples}: no multiple of questions_per_context {questions_per_context}"
        )
    source = load_corpus(corpus)
    groups = _groups(source, questions_per_context, seed, beside)
    if samples > len(groups) * questions_per_context:
        raise UsageError(
            f"samples {samples}: {corpus} has {len(groups) * questions_per_context} questions"
            + (f" beside the {len(beside)} that are trained" if beside else "")
            + "; ask for fewer"
        )
    # Held-out contexts go on counting: their golds and distractors are drawn anew.
    first = len(beside) // questions_per_context
    for index, group in enumerate(groups[: samples // questions_per_context], first):
        yield from _context(group, source, documents, index, seed, form)


def questions(
    *, samples: int, corpus: str, questions_per_context: int = 1, seed: int = 0
) -> set[str]:
    """Return the questions that :func:`rows` asks, given the same arguments.

    Raises:
        DataError: when the corpus cannot be had.
    """
    groups = _groups(load_corpus(corpus), questions_per_context, seed)
    chosen = groups[: samples // questions_per_context]
    return {question.question for group in chosen for question, _ in group}


def _groups(
    source: Corpus, size: int, seed: int, beside: Collection[str] = ()
) -> list[list[Asked]]:
    """Return the questions of every context, in the order of a seed."""
    asked = [(question, stated) for question in source.questions if (stated := _stated(question))]
    random.Random(f"mdqa-training:{seed}").shuffle(asked)
    left = [(question, stated) for question, stated in asked if question.question not in beside]
    return list(_apart(left, size))


def _context(
    group: Sequence[Asked], source: Corpus, documents: int, index: int, seed: int, form: Form
) -> Iterator[dict[str, Any]]:
    """Yield the rows of the questions over one context."""
    golds = [question for question, _ in group]
    rng = random.Random(f"mdqa-training:{seed}:{index}")
    chosen = [
        source.questions[row]
        for row in distractors(golds[0], source, documents - len(golds), seed, beside=golds[1:])
    ]
    places = gold_places(rng, index, documents, len(golds), "even")
    for number, question in sorted(zip(places, golds, strict=True), key=lambda pair: pair[0]):
        chosen.insert(number, question)
    shown = [(document.title, document.text) for document in chosen]
    for number, (question, answer) in zip(places, group, strict=True):
        where = place(golds[0].question_id, number + 1, documents)
        yield shaped([(prompt(question.question, shown), answer)], form, where)


def _apart(asked: Sequence[Asked], size: int) -> Iterator[list[Asked]]:
    """Yield groups of ``size`` questions whose gold documents answer their own question only.

    Groups keep the order as far as that allows; a question that finds none at the end is not asked.
    """
    waiting = list(asked)
    while len(waiting) >= size:
        group: list[Asked] = []
        left: list[Asked] = []
        for item in waiting:
            fits = len(group) < size and all(_strangers(item[0], other) for other, _ in group)
            (group if fits else left).append(item)
        if len(group) < size:
            return
        yield group
        waiting = left


def _strangers(one: Question, other: Question) -> bool:
    """Say whether neither question's gold document is or answers the other's."""
    return one.text != other.text and not any(
        contains_answer(normalize(f"{document.title} {document.text}"), question.answers)
        for document, question in ((one, other), (other, one))
    )


def _stated(question: Question) -> str | None:
    """Return the first answer that the gold document states, None when it states none."""
    if not question.askable:
        return None
    words = normalize(f"{question.title} {question.text}")
    return next((answer for answer in question.answers if contains_answer(words, [answer])), None)
