"""The forms of a line of training data, which trainers and fine-tuning services read."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from kv_tasks.errors import UsageError

Form = Literal["messages", "prompt-completion", "openai"]

# What the authors put before every sample of their OpenAI fine-tuning files.
OPENAI_SYSTEM = "Write a response that appropriately completes the request."


def shaped(
    turns: Sequence[tuple[str, str]], form: Form, place: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a line.

    Args:
        turns: (question, answer) of a conversation, one or more.
        form: ``messages``; ``prompt-completion``; ``openai``, with the authors' system message
            and nothing that the service would refuse.
        place: where the gold dictionary or document is; not in the ``openai`` form.

    Raises:
        UsageError: when a conversation of several turns is to be a prompt and a completion.
    """
    if form == "prompt-completion":
        if len(turns) > 1:
            raise UsageError("several turns have no prompt and completion; choose messages")
        ((prompt, completion),) = turns
        return {"prompt": prompt, "completion": completion, **place}
    messages = [
        {"role": role, "content": content}
        for turn in turns
        for role, content in zip(("user", "assistant"), turn, strict=True)
    ]
    if form == "openai":
        return {"messages": [{"role": "system", "content": OPENAI_SYSTEM}, *messages]}
    return {"messages": messages, **place}
