"""The corpora that multi-document questions are asked over, by the name a task's YAML gives.

No task here asks what is trained on: of each source a part is kept for training, by question,
by document and by the page a document is from. The harness's own ``nq_open`` asks all of it:
``nq-open-training`` is a part of the split that it scores. A further corpus is one more entry
of :data:`CORPORA`.
"""

import random
from collections.abc import Callable, Iterable
from functools import cache
from typing import Literal, get_args

from kv_tasks.datafiles import (
    NQ_OPEN_ORACLE,
    NQ_OPEN_RETRIEVED,
    published,
    read_jsonl_gz,
    remedy,
)
from kv_tasks.encyclopedia import entries
from kv_tasks.errors import DataError
from kv_tasks.questions import Corpus, Question

# What training may ask; no task does.
TrainingCorpus = Literal["nq-open-training", "encyclopedia-training", "encyclopedia-training-large"]
TRAINING_CORPORA: tuple[str, ...] = get_args(TrainingCorpus)
# Asked by the harness's nq_open as well, whose score then says nothing of forgetting.
ASKED_BY_NQ_OPEN = "nq-open-training"
# Of the 2,655 questions of NQ-Open, so that 2,000 are left to evaluate.
TRAINING_QUESTIONS = 655
# The encyclopedia's parts by entry: every task's corpus begins with the first.
ENTRIES, LARGE, WITH_TRAINING, WITH_LARGE_TRAINING = 1000, 2000, 2650, 10_000


@cache
def nq_open_all() -> tuple[Question, ...]:
    """Return the 2,655 questions of NQ-Open with the gold documents of Liu et al.

    Raises:
        DataError: when the file cannot be had, or a row lacks a field or its gold document.
    """
    path = published(NQ_OPEN_ORACLE)
    questions = []
    for index, row in enumerate(read_jsonl_gz(path)):
        try:
            (gold,) = (passage for passage in row["ctxs"] if passage["isgold"])
            questions.append(
                Question(
                    question_id=f"nq-open-{index:04d}",
                    question=row["question"],
                    answers=tuple(row["answers"]),
                    title=gold["title"],
                    text=gold["text"],
                )
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{path}, line {index + 1}: expected question, answers and one gold passage in "
                f"ctxs ({error}); {remedy(path)}"
            ) from error
    return tuple(questions)


def _pages(questions: Iterable[Question]) -> dict[str, list[str]]:
    """Return the question ids by page: all that a chain of equal texts or titles joins.

    A page is named after the first title of its first text.
    """
    asked = list(questions)
    title_of_text: dict[str, str] = {}
    # One page under two titles: the later title leads to the earlier one.
    alias: dict[str, str] = {}

    def page(title: str) -> str:
        while title in alias:
            title = alias[title]
        return title

    for question in asked:
        earlier = page(title_of_text.setdefault(question.text, question.title))
        later = page(question.title)
        if later != earlier:
            alias[later] = earlier
    pages: dict[str, list[str]] = {}
    for question in asked:
        pages.setdefault(page(question.title), []).append(question.question_id)
    return pages


@cache
def _kept_for_training() -> frozenset[str]:
    """Return the question ids of NQ-Open that are trained on, never evaluated.

    Questions whose documents share their text or title (the Wikipedia page) stay together.
    """
    pages = _pages(nq_open_all())
    order = sorted(pages)
    random.Random("nq-open-training-part").shuffle(order)
    kept: list[str] = []
    for title in order:
        if len(kept) + len(pages[title]) <= TRAINING_QUESTIONS:
            kept += pages[title]
    return frozenset(kept)


def _part(questions: Iterable[Question], *, training: bool) -> tuple[Question, ...]:
    kept = _kept_for_training()
    return tuple(q for q in questions if (q.question_id in kept) == training)


CORPORA: dict[str, Callable[[], tuple[Question, ...]]] = {
    "nq-open": lambda: _part(nq_open_all(), training=False),
    "nq-open-training": lambda: _part(nq_open_all(), training=True),
    "nq-open-all": nq_open_all,
    "encyclopedia": lambda: entries(count=WITH_TRAINING)[:ENTRIES],
    "encyclopedia-large": lambda: entries(count=WITH_TRAINING)[:LARGE],
    "encyclopedia-training": lambda: entries(count=WITH_TRAINING)[LARGE:],
    "encyclopedia-training-large": lambda: entries(count=WITH_LARGE_TRAINING)[LARGE:],
}


@cache
def load_corpus(name: str) -> Corpus:
    """Return a corpus by name, read and normalized once a process.

    Raises:
        DataError: when there is no corpus of that name, or it cannot be read.
    """
    if name not in CORPORA:
        raise DataError(f"corpus {name!r}: unknown; choose one of {', '.join(CORPORA)}")
    return Corpus.of(name, CORPORA[name]())


@cache
def retrieved() -> dict[str, tuple[tuple[str, str], ...]]:
    """Return the retrieved documents, (title, text) best first, that distract from a question.

    The key is the question as the data has it. The published file shows 20 documents a
    question, the gold one among them; the other 19 are returned.

    Raises:
        DataError: when the file cannot be had, or a row lacks a field or its gold document.
    """
    path = published(NQ_OPEN_RETRIEVED)
    found = {}
    for line, row in enumerate(read_jsonl_gz(path), start=1):
        try:
            passages = [(p["title"], p["text"]) for p in row["ctxs"] if not p["isgold"]]
            if len(passages) != len(row["ctxs"]) - 1:
                raise ValueError(f"{len(row['ctxs']) - len(passages)} gold passages")
            found[row["question"]] = tuple(passages)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{path}, line {line}: expected question and one gold passage in ctxs ({error}); "
                f"{remedy(path)}"
            ) from error
    return found
