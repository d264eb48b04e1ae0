"""Prompt lengths in tokens, for the ``length`` field of a document."""

from collections.abc import Sequence

from kv_tasks.errors import ModelError


def prompt_lengths(prompts: Sequence[str], tokenizer: str | None) -> list[int | None]:
    """Return the number of tokens of each prompt, without special tokens or chat template.

    Args:
        prompts: the texts that the task asks.
        tokenizer: local folder or hub name; None gives None for every prompt, since a
            task can run without any tokenizer.

    Raises:
        ModelError: when the tokenizer cannot be loaded.
    """
    if tokenizer is None:
        return [None] * len(prompts)
    from transformers import AutoTokenizer

    try:
        encode = AutoTokenizer.from_pretrained(tokenizer)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(
            f"tokenizer {tokenizer!r}: not a folder or hub name that loads ({reason}); "
            "leave tokenizer out of the metadata to run without lengths"
        ) from error
    encoded = encode(list(prompts), add_special_tokens=False, return_attention_mask=False)
    return [len(ids) for ids in encoded["input_ids"]]
