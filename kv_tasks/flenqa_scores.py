"""FLenQA's scores, quirks included (Levy et al., arXiv 2402.14848, the authors' notebook).

The source's removal of punctuation is a no-op: it looks for all punctuation marks in one run.
"""

import re
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
# The source looks this far into a response for an answer given before its reasons.
EARLY_CHARACTERS = 10
# The source's name for a response with neither word. Longer than EARLY_CHARACTERS, so never early.
OTHER = "other/refused"


def normalize(text: str) -> str:
    """Lower-case, drop articles, collapse white space; punctuation stays."""
    return " ".join(_ARTICLES.sub(" ", text.lower()).split())


def category(response: str) -> str:
    """Return ``true`` or ``false``, whichever occurs last in a response; OTHER for neither.

    "Not true" is false first. The words are substrings: "untrue" is true.
    """
    text = normalize(response).replace("not true", "false")
    true, false = text.rfind("true"), text.rfind("false")
    if true == false:
        return OTHER
    return "true" if true > false else "false"


def accuracy(response: str, label: str) -> float:
    """Return 1.0 when the response's category occurs in the label, "True" or "False"."""
    return float(category(response) in label.lower())


def fact_coverage(response: str, facts: Sequence[str]) -> float:
    """Return the share of the key facts that a response repeats word for word.

    The source reports their number, and halves it in its plot: every problem has two.
    """
    text = normalize(response)
    return sum(normalize(fact) in text for fact in facts) / len(facts)


def early_response(response: str) -> float:
    """Return 1.0 when the response's category stands among its first ten characters.

    A response that begins with "not true" is false, and not early: the word "false" is not there.
    """
    return float(category(response) in normalize(response)[:EARLY_CHARACTERS])
