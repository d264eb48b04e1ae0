"""The forms of a line of training data, which trainers and fine-tuning services read."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from kv_tasks.documents import depth_of

Form = Literal["messages", "prompt-completion", "openai"]

# What the authors put before every sample of their OpenAI fine-tuning files.
OPENAI_SYSTEM = "Write a response that appropriately completes the request."


def place(context_id: str, gold_position: int, candidates: int) -> dict[str, Any]:
    """Return where the gold dictionary or document is, by which rows are packed and plotted.

    Args:
        context_id: rows with the same one share their haystack.
        gold_position: 1-based.
        candidates: how many dictionaries, documents or lines the haystack has.
    """
    return {
        "context_id": context_id,
        "gold_position": gold_position,
        "depth": depth_of(gold_position, candidates),
    }


def shaped(
    turns: Sequence[tuple[str, str]], form: Form, where: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a line.

    Args:
        turns: (question, answer) of a conversation, one or more.
        form: ``messages``; ``prompt-completion``, of one turn; ``openai``, with the authors'
            system message and nothing that the service would refuse.
        where: see :func:`place`; not in the ``openai`` form.
    """
    if form == "prompt-completion":
        ((prompt, completion),) = turns
        return {"prompt": prompt, "completion": completion, **where}
    messages = [
        {"role": role, "content": content}
        for turn in turns
        for role, content in zip(("user", "assistant"), turn, strict=True)
    ]
    if form == "openai":
        return {"messages": [{"role": "system", "content": OPENAI_SYSTEM}, *messages]}
    return {"messages": messages, **where}
