"""The prompt of multi-document question answering, to the byte (Liu et al., arXiv 2307.03172)."""

from collections.abc import Sequence

INSTRUCTION = (
    "Write a high-quality answer for the given question using only the provided search "
    "results (some of which might be irrelevant)."
)

ASKING = "Question: "


def prompt(question: str, documents: Sequence[tuple[str, str]]) -> str:
    """Return the protocol's prompt, without a final line break.

    Args:
        question: as the data has it; no capital or question mark is added.
        documents: (title, text) in the order shown, line breaks in the texts kept; none at
            all is the closed book, which has no instruction either.
    """
    asked = f"{ASKING}{question}\nAnswer:"
    if not documents:
        return asked
    shown = "\n".join(
        line(number, title, text) for number, (title, text) in enumerate(documents, start=1)
    )
    return f"{INSTRUCTION}\n\n{shown}\n\n{asked}"


def question_of(prompt: str) -> str | None:
    """Return the question that a prompt of :func:`prompt` asks, None of any other."""
    *_, asked = prompt.rpartition(f"\n{ASKING}" if f"\n{ASKING}" in prompt else ASKING)
    return asked.removesuffix("\nAnswer:") if asked.endswith("\nAnswer:") else None


def line(number: int, title: str, text: str) -> str:
    """Return one document as the prompt shows it."""
    return f"Document [{number}](Title: {title}) {text}"
