"""The corpora that multi-document questions are asked over, by the name a task's YAML gives.

A further corpus is one more function of :data:`CORPORA` that returns its questions.
"""

from collections.abc import Callable
from functools import cache

from kv_tasks.datafiles import NQ_OPEN_ORACLE, published, read_jsonl_gz
from kv_tasks.encyclopedia import entries
from kv_tasks.errors import DataError
from kv_tasks.questions import Corpus, Question


def nq_open() -> tuple[Question, ...]:
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
                f"ctxs ({error}); fetch the file again"
            ) from error
    return tuple(questions)


CORPORA: dict[str, Callable[[], tuple[Question, ...]]] = {
    "nq-open": nq_open,
    "encyclopedia": entries,
}


@cache
def corpus(name: str) -> Corpus:
    """Return a corpus by name, read and normalized once a process.

    Raises:
        DataError: when there is no corpus of that name, or it cannot be read.
    """
    if name not in CORPORA:
        raise DataError(f"corpus {name!r}: unknown; choose one of {', '.join(CORPORA)}")
    return Corpus.of(name, CORPORA[name]())
