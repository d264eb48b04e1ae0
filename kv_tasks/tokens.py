"""Tokenizers, and how many tokens texts and the lines of a text are."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import typer
from jinja2 import TemplateError

from kv_tasks import console
from kv_tasks.errors import ModelError, reason_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


# What a chat template calls for the date.
CLOCK = "strftime_now"
# Of transformers' apply_chat_template: what whoever calls it decides.
_DECIDED = (
    "add_generation_prompt", "continue_final_message", "conversation", "max_length", "messages",
    "padding", "return_assistant_tokens_mask", "return_dict", "return_tensors", "tokenize",
    "tokenizer_kwargs", "truncation",
)  # fmt: skip


@lru_cache(maxsize=8)
def load_tokenizer(
    name: str, *, revision: str | None = None, trust_remote_code: bool = False
) -> "PreTrainedTokenizerBase":
    """Return the tokenizer of a model, loaded once a process.

    Args:
        name: local folder or hub name.
        revision: of the hub's repository, None for its newest.
        trust_remote_code: whether code that comes with it may run.

    Raises:
        ModelError: when it cannot be loaded.
        MissingPackageError: when transformers is not installed.
    """
    with console.requires("train"):
        from transformers import AutoTokenizer

    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            name, revision=revision, trust_remote_code=trust_remote_code
        )
    except Exception as error:
        raise ModelError(
            f"tokenizer {name!r}: not a folder or hub name that loads "
            f"({reason_of(error, first_line=True)}); "
            "give a folder or hub name with one; where it only counts a task's tokens that is "
            '--tokenizer, with lm_eval --metadata \'{"tokenizer": "FOLDER"}\', and that of '
            "smollm2-135m lies in the folder that kv-train model smollm2-135m prints"
        ) from error
    return tokenizer


def refuse_decided(arguments: Mapping[str, Any]) -> None:
    """Refuse what is no argument of a chat template.

    Raises:
        ValueError: naming the argument.
    """
    for name in _DECIDED:
        if name in arguments:
            raise ValueError(f"{name} is decided here, and nothing of the template's; remove it")


def template_arguments(text: str) -> dict[str, Any]:
    """Return the arguments of a chat template that an option was given as JSON."""
    given = console.json_object(text)
    try:
        refuse_decided(given)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    return given


def chat_prompt(
    tokenizer: "PreTrainedTokenizerBase", prompt: str, /, **arguments: Any
) -> str | None:
    """Return what a chat model reads for one user message; None without a chat template.

    Args:
        tokenizer: of the model.
        prompt: the message.
        arguments: what the template is called with.

    Raises:
        ModelError: when the template refuses the message.
    """
    if not tokenizer.chat_template:
        return None
    return _templated(tokenizer, [{"role": "user", "content": prompt}], **arguments)


def writes_date(tokenizer: "PreTrainedTokenizerBase", /, **arguments: Any) -> bool:
    """Say whether the chat template writes today's date: other prompts tomorrow.

    Args:
        tokenizer: of the model.
        arguments: what the template is called with; a date among them ends it.

    Raises:
        ModelError: when the template refuses a message.
    """
    if CLOCK not in str(tokenizer.chat_template):
        return False
    # A variable of that name hides the clock from the template.
    long_ago = {CLOCK: datetime(1970, 1, 1, tzinfo=UTC).strftime}
    usual = chat_prompt(tokenizer, "?", **arguments)
    return usual != chat_prompt(tokenizer, "?", **{**arguments, **long_ago})


def as_read(tokenizer: "PreTrainedTokenizerBase", prompt: Any) -> str:
    """Return the text of a request's prompt as the model reads it.

    Args:
        tokenizer: of the model.
        prompt: a text, or a chat as the harness holds it for chat services, whose tokenizer may
            have no template of its own: then its messages alone.

    Raises:
        ModelError: when the template refuses the messages.
    """
    if isinstance(prompt, str):
        return prompt
    messages: list[dict[str, str]] = json.loads(prompt.prompt)
    if not tokenizer.chat_template:
        return "\n".join(message["content"] for message in messages)
    return _templated(tokenizer, messages)


def _templated(
    tokenizer: "PreTrainedTokenizerBase", messages: list[dict[str, str]], /, **arguments: Any
) -> str:
    try:
        return str(
            tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True, **arguments
            )
        )
    except (TemplateError, ValueError) as error:
        raise ModelError(
            f"tokenizer {tokenizer.name_or_path!r}: its chat template fails on "
            f"{len(messages)} message(s) ({error}); choose a tokenizer with another template"
        ) from error


def count_tokens(tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str]) -> list[int]:
    """Return the number of tokens of each text, on all cores, none of them added."""
    encoded = tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False)
    return [len(ids) for ids in encoded["input_ids"]]


def count_read(tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str]) -> list[int]:
    """Return the tokens that the harness's models read of each text.

    A tokenizer adds tokens of its own, such as a first one. The harness adds no second first
    token, but it does add the first one to a rendered chat that begins without.
    """
    added = tokenizer.num_special_tokens_to_add()
    begun = tuple(filter(None, [tokenizer.bos_token]))
    return [
        count + (0 if text.startswith(begun) else added)
        for text, count in zip(texts, count_tokens(tokenizer, texts), strict=True)
    ]


def count_added(
    tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str], *, before: str, separator: str = ""
) -> list[int]:
    """Return what each text, behind a separator, adds to the tokens of the one before it.

    Args:
        tokenizer: of the model that will read the texts.
        texts: that follow one another.
        before: what stands in front of the first.
        separator: between any two.
    """
    earlier = [before, *texts[:-1]]
    pairs = [f"{one}{separator}{two}" for one, two in zip(earlier, texts, strict=True)]
    alone, both = count_tokens(tokenizer, earlier), count_tokens(tokenizer, pairs)
    return [n - m for n, m in zip(both, alone, strict=True)]


def longest(tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str]) -> str:
    """Return the first of the texts that no other exceeds in tokens."""
    counts = count_tokens(tokenizer, texts)
    return texts[counts.index(max(counts))]


def count_lines(
    tokenizer: "PreTrainedTokenizerBase", lines: Sequence[str], *, before: str, after: str
) -> list[int]:
    """Return the tokens of each line, its line break included, as it stands between the others.

    One tokenization of the whole text; a token counts for the line that it begins in.

    Args:
        tokenizer: of the model that will read the lines.
        lines: without their line breaks; a line may hold line breaks of its own.
        before: text in front of the first line, whose tokens are not counted.
        after: text behind the last line, likewise.
    """
    if not lines:
        return []
    ends = np.cumsum([len(before)] + [len(line) + 1 for line in lines])
    text = before + "".join(f"{line}\n" for line in lines) + after
    starts = _token_starts(tokenizer, text)
    if starts is None:
        return count_added(tokenizer, [f"{line}\n" for line in lines], before=before)
    return [int(n) for n in np.diff(np.searchsorted(starts, ends, side="left"))]


def _token_starts(tokenizer: Any, text: str) -> "np.ndarray[Any, Any] | None":
    """Return the characters at which tokens begin; None from a tokenizer that cannot say."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    # A tokenizer file can bring settings of its own, and the last caller leaves his behind.
    backend.no_truncation()
    backend.no_padding()
    encoding = backend.encode(text, add_special_tokens=False)
    return np.fromiter((start for start, _ in encoding.offsets), dtype=np.int64)
