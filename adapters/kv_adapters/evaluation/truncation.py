"""Refuse what the harness would cut.

The harness's hf and vllm models drop the left of a prompt that does not fit together with its
answer, and neither results nor samples say so: a gold document at position 1 is then gone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kv_tasks.errors import PromptTooLongError


@dataclass
class Fit:
    """How much of the context was needed, for the results.

    Attributes:
        prompts: prompts measured, all of which fitted.
        longest: tokens of the longest, its answer included.
        context: tokens that the model has.
    """

    prompts: int = 0
    longest: int = 0
    context: int = 0


def refuse_truncation(lm: Any, requests: Sequence[Any]) -> Fit:
    """Return how prompts fit; raise when one and its answer exceed the model's context.

    Args:
        lm: a harness LM with ``tok_encode``, ``max_length`` and ``max_gen_toks``.
        requests: harness instances; arguments are (prompt, generation arguments) or
            (prompt, continuation).

    Raises:
        PromptTooLongError: naming task, document, the longest prompt and the limit.
    """
    limit = lm.max_length
    too_long, longest = [], 0
    for request in requests:
        prompt, second = request.args[:2]
        if isinstance(second, str):
            # One token is generated behind what is scored, and an empty prompt gets a prefix.
            needed = len(lm.tok_encode(prompt + second)) + 1
        else:
            needed = len(lm.tok_encode(prompt)) + answer_tokens(second or {}, lm)
        longest = max(longest, needed)
        if needed > limit:
            too_long.append((needed, request))
    if too_long:
        needed, worst = max(too_long, key=lambda pair: pair[0])
        raise PromptTooLongError(
            f"task {worst.task_name}: {len(too_long)} of {len(requests)} prompts do not fit; "
            f"the longest, document {worst.doc_id}, needs {needed} tokens with its answer and "
            f"the model has {limit}; the harness would cut it silently: raise --max-length if "
            "the model allows it, or choose a shorter task"
        )
    return Fit(len(requests), longest, limit)


def merged(one: Fit | None, other: Fit) -> Fit:
    """Return what both measured together; None measured nothing."""
    if one is None:
        return other
    return Fit(one.prompts + other.prompts, max(one.longest, other.longest), other.context)


def answer_tokens(asked: Mapping[str, Any], lm: Any) -> int:
    """Return the most tokens of an answer, by any of the names that the harness knows it by."""
    for name in ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens"):
        if asked.get(name) is not None:
            return int(asked[name])
    # API models keep their default private.
    return int(lm.max_gen_toks if hasattr(lm, "max_gen_toks") else lm._max_gen_toks)
