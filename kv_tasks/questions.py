"""A question with its gold document, and the corpus whose documents distract from one another."""

from collections.abc import Iterable
from dataclasses import dataclass

from kv_tasks.normalize import normalize


@dataclass(frozen=True)
class Question:
    """A question, the strings that answer it, and the document that holds the answer."""

    question_id: str
    question: str
    answers: tuple[str, ...]
    title: str
    text: str

    @property
    def askable(self) -> bool:
        """Whether no answer normalizes to nothing, which would make every response right."""
        return all(map(normalize, self.answers))


@dataclass(frozen=True)
class Corpus:
    """Questions in the order of their source, with their documents normalized once.

    ``normalized[i]`` is the title and text of row ``i`` as the prompt shows them.
    """

    name: str
    questions: tuple[Question, ...]
    normalized: tuple[str, ...]

    @classmethod
    def of(cls, name: str, questions: Iterable[Question]) -> "Corpus":
        """Return a corpus of ``questions``; the name seeds the order they are asked in."""
        rows = tuple(questions)
        return cls(name, rows, tuple(normalize(f"{row.title} {row.text}") for row in rows))
