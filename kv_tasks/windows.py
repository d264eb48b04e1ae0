"""Prompts of an exact number of tokens: as many lines as fit, and one tokenization to prove it.

A window of N tokens holds the prompt, whatever the chat template puts around it, and the
answer. A task cannot see whether the harness will apply the chat template, so that room is
always kept. Lines are counted once, between their neighbours, and added; tokenizing the whole
prompt again and again while it grows would cost the square of its length.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from kv_tasks.errors import DataError
from kv_tasks.model_arguments import ModelArguments
from kv_tasks.tokens import (
    chat_prompt,
    count_lines,
    count_read,
    count_tokens,
    load_tokenizer,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Room for what a sum over lines cannot see: tokens that form across a border, a template that
# writes today's date. Far less than a line.
SLACK = 8
_PROBE = "Report the value."


@dataclass(frozen=True)
class Window:
    """A number of tokens, for one tokenizer, of which an answer needs a part.

    Attributes:
        tokens: prompt, chat template and answer together are at most so many.
        tokenizer_name: folder or hub name of the tokenizer that counts.
        answer_tokens: reserved for what will be generated (or trained on).
        revision: of the tokenizer on the hub, None for its newest.
        trust_remote_code: whether code that comes with it may run.
    """

    tokens: int
    tokenizer_name: str
    answer_tokens: int
    revision: str | None = None
    trust_remote_code: bool = False

    @cached_property
    def tokenizer(self) -> "PreTrainedTokenizerBase":
        """The tokenizer itself."""
        return load_tokenizer(
            self.tokenizer_name, revision=self.revision, trust_remote_code=self.trust_remote_code
        )

    @cached_property
    def overhead(self) -> int:
        """Tokens around a prompt: the chat template's, or those the tokenizer adds by itself."""
        return self.measure(_PROBE) - count_tokens(self.tokenizer, [_PROBE])[0]

    def measure(self, prompt: str) -> int:
        """Return the tokens that a model reads for ``prompt`` at most, in one tokenization."""
        text = chat_prompt(self.tokenizer, prompt) or prompt
        return count_read(self.tokenizer, [text])[0] + self.thoughts

    @cached_property
    def thoughts(self) -> int:
        """Tokens that a template adds when it is told that the model is not to think first."""
        chats = (
            chat_prompt(self.tokenizer, _PROBE),
            chat_prompt(self.tokenizer, _PROBE, enable_thinking=False),
        )
        usual, told = count_tokens(self.tokenizer, [chat or "" for chat in chats])
        return max(0, told - usual)

    def room(self, frame: str) -> int:
        """Return the tokens left for lines.

        Args:
            frame: the prompt without its lines.

        Raises:
            DataError: when not even the frame fits.
        """
        framed = count_tokens(self.tokenizer, [frame])[0]
        left = self.tokens - self.answer_tokens - self.overhead - framed - SLACK
        if left <= 0:
            raise DataError(
                f"a window of {self.tokens} tokens: the prompt without any line needs {framed}, "
                f"its chat template {self.overhead} and the answer {self.answer_tokens}; choose "
                "a longer window"
            )
        return left

    def costs(
        self, lines: Iterator[str], room: int, *, before: str, after: str
    ) -> tuple[list[str], list[int]]:
        """Take lines until they exceed ``room``, and return them with their token counts.

        Args:
            lines: as many as there may ever be; taken in blocks, so a few too many.
            room: in tokens.
            before: text in front of the first line.
            after: text that may stand behind a last line.
        """
        taken: list[str] = []
        counts: list[int] = []
        spent, block = 0, 16
        while spent <= room:
            new = list(itertools.islice(lines, block))
            if not new:
                break
            left = f"{taken[-1]}\n" if taken else before
            counts += count_lines(self.tokenizer, new, before=left, after=after)
            taken += new
            spent = sum(counts)
            block = max(4, (room - spent) * len(taken) // max(1, spent) + 4)
        return taken, counts

    def prove(self, count: int, render: Callable[[int], str], *, fewest: int) -> "Proof":
        """Return how many lines fit, ``count`` or a few less, after tokenizing their prompt whole.

        Args:
            count: lines that fit by their sum.
            render: makes the prompt of a number of lines.
            fewest: lines without which the prompt makes no sense.

        Raises:
            DataError: when fewer than ``fewest`` lines fit.
        """
        limit = self.tokens - self.answer_tokens
        for lines in range(count, fewest - 1, -1):
            length = self.measure(render(lines))
            if length <= limit:
                return Proof(lines, length)
        raise DataError(
            f"a window of {self.tokens} tokens holds fewer than {fewest} lines beside the "
            f"question, its chat template ({self.overhead} tokens) and the answer "
            f"({self.answer_tokens}); choose a longer window"
        )


@dataclass(frozen=True)
class Proof:
    """That the prompt of ``lines`` lines has ``length`` tokens, chat template included."""

    lines: int
    length: int


def fitting(counts: Iterable[int], room: int) -> int:
    """Return how many lines, from the first on, are ``room`` tokens or fewer together."""
    return sum(1 for _ in itertools.takewhile(lambda s: s <= room, itertools.accumulate(counts)))


def largest(most: int, fits: Callable[[int], bool], guess: int) -> int:
    """Return the largest number of lines that fits, from a good guess on.

    Args:
        most: no more lines are there.
        fits: whether so many lines fit; true for 0 lines.
        guess: where to begin, 0 to ``most``.
    """
    lines = guess
    while lines and not fits(lines):
        lines -= 1
    while lines < most and fits(lines + 1):
        lines += 1
    return lines


def window(tokens: int, model: ModelArguments, *, answer_tokens: int, task: str) -> Window:
    """Return the window that a task's metadata asks for.

    Raises:
        DataError: when there is no tokenizer to count with.
    """
    if model.tokenizer is None:
        raise DataError(
            f"{task}: a window of {tokens} tokens needs the model's tokenizer; give "
            '--metadata \'{"tokenizer": "FOLDER_OR_HUB_NAME"}\' (kv-adapters eval: --tokenizer)'
        )
    return Window(tokens, model.tokenizer, answer_tokens, **model.loading)
