"""Answer normalization and the score of open-domain question answering."""

import re
import string
from collections.abc import Sequence

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalize(text: str) -> str:
    """Lower-case, drop ASCII punctuation and articles, collapse white space (SQuAD)."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def best_subspan_em(response: str, answers: Sequence[str]) -> float:
    """Return 1.0 when any normalized answer occurs in the response's first line.

    Liu et al., arXiv 2307.03172: the first line is taken before anything is stripped, so a
    response that begins with a line break is empty. An answer is a substring, not a word:
    "2" is right wherever "1923" stands.
    """
    line = normalize(response.split("\n", 1)[0].strip())
    return float(any(normalize(answer) in line for answer in answers))


def contains_answer(normalized: str, answers: Sequence[str]) -> bool:
    """Say whether a normalized text holds an answer as a run of whole words.

    This is how open-domain QA marks ``hasanswer``; as a substring "2" would be everywhere.
    """
    padded = f" {normalized} "
    return any(f" {normalize(answer)} " in padded for answer in answers)
