"""From chat messages to token ids with labels on the answers only.

The chat template renders the whole conversation once; the tokens of each answer are then
found by their character offsets, so any template works whose rendering of prompt + answer
begins with its rendering of the prompt. Every message of the assistant is an answer, but for those
of ``weight`` 0. Its end-of-turn token is trained: a model that does not learn to stop answers and
then goes on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from jinja2 import TemplateError

from kv_tasks.errors import DataError, ModelError

IGNORED = -100
ROLES = ("system", "developer", "user", "assistant", "tool")


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that is used here."""

    chat_template: Any
    all_special_ids: list[int]
    added_tokens_decoder: Mapping[int, Any]

    def __call__(self, text: str, **kwargs: Any) -> Any:
        """Encode a text."""

    def apply_chat_template(self, conversation: Sequence[Mapping[str, str]], **kwargs: Any) -> Any:
        """Render a conversation."""

    def decode(self, token_ids: Sequence[int], **kwargs: Any) -> Any:
        """Turn ids back into text."""


@dataclass(frozen=True)
class Row:
    """One training row: ids up to and including the end of the last answer's turn.

    Attributes:
        input_ids: token ids, length T.
        spans: first and one past the last token of each answer; these are trained.
        context_id: rows with the same id share their haystack.
        name: where the row came from, for messages.
        depth: of the gold in the haystack, 0 to 1, where the row says.
        kind: of held-out prompts, where there are several.
        kl: weight by which the whole row is held to the base model; 0 where its answers are
            trained.
    """

    input_ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    context_id: str
    name: str
    depth: float | None = None
    kind: str | None = None
    kl: float = 0.0

    @property
    def prompt_length(self) -> int:
        """Tokens before the first answer."""
        return self.spans[0][0]

    @property
    def labels(self) -> tuple[int, ...]:
        """Token ids where they are trained, IGNORED elsewhere, length T."""
        labels = [IGNORED] * len(self.input_ids)
        for start, end in self.spans:
            labels[start:end] = self.input_ids[start:end]
        return tuple(labels)


def encode(
    tokenizer: Tokenizer,
    row: Mapping[str, Any],
    *,
    name: str,
    max_length: int,
    template_kwargs: Mapping[str, Any] | None = None,
) -> Row:
    """Encode one chat-message row.

    Args:
        tokenizer: a fast tokenizer with a chat template.
        row: ``messages`` ending with the assistant's answer; ``context_id`` if several rows
            share a context; ``depth`` of the gold and ``kind``, if any.
        name: file and line, or generator and number, for error messages.
        max_length: the most tokens a row may have; nothing is ever cut.
        template_kwargs: what the chat template is called with.

    Raises:
        ModelError: the tokenizer has no chat template, or one that rewrites the prompt.
        DataError: the row is no chat, has no answer or no end of turn, or does not fit.
    """
    messages = _messages(row, name)
    if not tokenizer.chat_template:
        raise ModelError(
            "the tokenizer has no chat template; choose an instruction-tuned model, or save a "
            "chat_template.jinja beside its tokenizer"
        )
    options = dict(template_kwargs or {})
    whole = _rendered(tokenizer, messages, name, **options)
    encoded = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
    ids: list[int] = list(encoded["input_ids"])
    starts = [start for start, _ in encoded["offset_mapping"]]
    answers = [turn for turn, message in enumerate(messages) if _is_trained(message)]
    prompts = [
        _rendered(tokenizer, messages[:turn], name, add_generation_prompt=True, **options)
        for turn in answers
    ]
    spans = []
    for turn, prompt, until in zip(
        answers, prompts, (*map(len, prompts[1:]), len(whole)), strict=True
    ):
        if not whole.startswith(prompt):
            several = len(answers) > 1
            raise ModelError(
                f"{name}: the chat template renders the prompt differently once the answer "
                "follows, so training and inference would see different prompts; "
                + ("train a row a turn, each ending with its answer" if several
                   else "some write a system message or thoughts by where they stand: put the "
                   "system message into the question, or save a chat_template.jinja that does not")
            )  # fmt: skip
        start = next((i for i, at in enumerate(starts) if at >= len(prompt)), len(ids))
        if list(tokenizer(prompt, add_special_tokens=False)["input_ids"]) != ids[:start]:
            raise DataError(
                f"{name}: the first token of the answer merges with the prompt, so a model could "
                "never generate it; begin the answer with a word"
            )
        # A template may open the answer with special tokens of its own; the turn ends behind it.
        # Where it changes the words, as some take thoughts from earlier turns, it opens with none.
        words = messages[turn]["content"].strip()
        at = whole.find(words, len(prompt), until)
        said = len(prompt) if at < 0 else at + len(words)
        behind = next((i for i, at in enumerate(starts) if at >= said), len(ids))
        spans.append((start, _end_of_turn(tokenizer, ids, start, behind, name)))
    end = spans[-1][1]
    if end > max_length:
        raise DataError(
            f"{name}: {end} tokens, more than the limit of {max_length}; nothing is cut here: "
            "use a shorter haystack, or raise training.max_length if the model allows it"
        )
    return Row(
        tuple(ids[:end]), tuple(spans), context_of(row, name), name,
        _depth(row, name), _kind(row),
    )  # fmt: skip


def unembedded(row: Row, vocabulary: int) -> str | None:
    """Return which token of a row a model of so many tokens has no embedding for, if any."""
    if (highest := max(row.input_ids)) < vocabulary:
        return None
    return (
        f"its tokenizer writes token {highest}, and the model has {vocabulary} embeddings; resize "
        "the model's, or remove what was added to the tokenizer"
    )


def context_of(row: Mapping[str, Any], name: str) -> str:
    """Return what a row's haystack is known by: its ``context_id``, else the row's own name."""
    given = row.get("context_id")
    return name if given is None else str(given)


def _depth(row: Mapping[str, Any], name: str) -> float | None:
    depth = row.get("depth")
    if depth is None:
        return None
    if isinstance(depth, bool) or not isinstance(depth, int | float) or not 0 <= depth <= 1:
        raise DataError(f"{name}: depth {depth!r}; expected a number from 0 to 1, or none")
    return float(depth)


def _kind(row: Mapping[str, Any]) -> str | None:
    """Return what a row's prompts are called; a column of that name may hold anything."""
    kind = row.get("kind")
    return None if kind is None else str(kind)


def _rendered(
    tokenizer: Tokenizer, messages: Sequence[Mapping[str, str]], name: str, /, **options: Any
) -> str:
    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, **options))
    except TemplateError as error:
        raise DataError(f"{name}: the chat template refuses it: {error}") from error


def _messages(row: Mapping[str, Any], name: str) -> list[dict[str, str]]:
    messages = row.get("messages")
    if not isinstance(messages, list) or len(messages) < 2:
        raise DataError(f"{name}: 'messages' must list a question and its answer")
    for message in messages:
        texts = isinstance(message, Mapping) and (message.get("role"), message.get("content"))
        if not texts or not all(isinstance(text, str) for text in texts):
            raise DataError(
                f"{name}: expected messages with 'role' and 'content', found {message!r:.80}"
            )
        if message["role"] not in ROLES:
            # A template would render it, as a turn that no served model ever sees.
            raise DataError(f"{name}: role {message['role']!r}; choose one of {', '.join(ROLES)}")
    if messages[-1].get("role") != "assistant" or not messages[-1].get("content"):
        raise DataError(
            f"{name}: the last message must be the assistant's, with content; "
            f"found role {messages[-1].get('role')!r}"
        )
    if row.get("tools"):
        raise DataError(
            f"{name}: has 'tools', which are not handed to the chat template; write them into the "
            "system message as the model is served with them, or leave the row out"
        )
    if not any(_is_trained(message) for message in messages):
        raise DataError(f"{name}: every answer has weight 0; leave the row out")
    return messages


def _is_trained(message: Mapping[str, Any]) -> bool:
    """Say whether a message is an answer to train; weight 0 is the OpenAI form's way to say no."""
    return message["role"] == "assistant" and message.get("weight") != 0


def _end_of_turn(tokenizer: Tokenizer, ids: list[int], start: int, behind: int, name: str) -> int:
    """Return the index after the first special token from ``behind`` on, the end of turn.

    Args:
        tokenizer: says which tokens are special.
        ids: of the whole conversation.
        start: of the answer, as the template renders it.
        behind: the answer's words, where they stand as they were given; else ``start``.
        name: of the row.
    """
    # Named ones, such as eos, and those that a vocabulary marks, such as Gemma's <end_of_turn>.
    added = tokenizer.added_tokens_decoder
    special = {*tokenizer.all_special_ids, *(i for i, token in added.items() if token.special)}
    for index in range(behind, len(ids)):
        if ids[index] in special:
            if index == start:
                break
            return index + 1
    raise DataError(
        f"{name}: the chat template closes the answer without an end-of-turn token, so the "
        "model would not learn to stop"
    )
