"""How many documents of a corpus fit a window of tokens, for each question.

A document is tokenized once, as a line of the prompt, for all questions, lengths and depths.
"""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from kv_tasks.corpora import load_corpus
from kv_tasks.errors import DataError
from kv_tasks.mdqa_prompt import INSTRUCTION, line, prompt
from kv_tasks.questions import Question
from kv_tasks.tokens import count_lines, count_tokens
from kv_tasks.windows import Proof, Window, fitting

_BEFORE, _AFTER = f"{INSTRUCTION}\n\n", "\nQuestion: "
# Documents are counted under a number of three digits, and corrected for their own.
_NUMBER = 100


def check_window(
    tokens: int, documents: int | None, gold_position: int | None, distractors: str
) -> None:
    """Raise where a window of tokens would silently take the place of another key."""
    if documents is not None:
        raise DataError(
            f"tokens {tokens} and documents {documents}: choose one, null for the other; a window "
            "holds as many documents as fit"
        )
    if gold_position is not None:
        raise DataError(
            f"tokens {tokens} and gold_position {gold_position}: in a window the gold document's "
            "place is its depth; set depth, and gold_position null"
        )
    if distractors != "random":
        raise DataError(
            f"tokens {tokens} and distractors {distractors}: a window is filled with random "
            "distractors; set distractors random, or documents instead of tokens"
        )


@dataclass(frozen=True)
class _Costs:
    """Tokens of each document of a corpus, and what each number adds to a document's."""

    documents: tuple[int, ...]
    numbers: tuple[int, ...]


@lru_cache(maxsize=4)
def _costs(name: str, window: Window) -> _Costs:
    rows = load_corpus(name).questions
    lines = [line(_NUMBER, row.title, row.text) for row in rows]
    documents = count_lines(window.tokenizer, lines, before=_BEFORE, after=_AFTER)
    labels = [f"\nDocument [{number}](Title:" for number in range(len(rows) + 1)]
    labelled = count_tokens(window.tokenizer, labels)
    numbers = tuple(count - labelled[_NUMBER] for count in labelled)
    return _Costs(tuple(documents), numbers)


def documents_fitting(name: str, question: Question, rows: Sequence[int], window: Window) -> int:
    """Return how many documents fit, the gold one and the first of ``rows``.

    The sum does not depend on where the gold document stands, so that a question has the same
    distractors at every depth.

    Args:
        name: of the corpus.
        question: one of its questions.
        rows: admissible distractors, in their order.
        window: prompt, chat template and answer are at most its tokens.

    Raises:
        DataError: when not even the question fits.
    """
    costs = _costs(name, window)
    room = window.room(prompt(question.question, [("", "")]))
    gold = [line(_NUMBER, question.title, question.text)]
    own = count_lines(window.tokenizer, gold, before=_BEFORE, after=_AFTER)[0]
    shown = [own, *(costs.documents[row] for row in rows)]
    return fitting(map(operator.add, shown, costs.numbers[1:]), room)


def proven(
    question: Question, shown: Sequence[tuple[str, str]], depth: float, window: Window
) -> tuple[int, Proof]:
    """Return the gold document's 1-based position and the prompt, tokenized as a whole.

    Args:
        question: what is asked.
        shown: (title, text) of the distractors.
        depth: 0 for the gold document first, 1 for last.
        window: as for :func:`documents_fitting`.
    """

    def place(documents: int) -> int:
        return round(depth * (documents - 1))

    def render(documents: int) -> str:
        ordered = list(shown[: documents - 1])
        ordered.insert(place(documents), (question.title, question.text))
        return prompt(question.question, ordered)

    proof = window.prove(len(shown) + 1, render, fewest=2)
    return place(proof.lines) + 1, proof
