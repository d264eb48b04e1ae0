"""Training prompts in the forms that trainers and fine-tuning services read.

One row of the default form, chat messages (a context's rows share ``context_id``):

    {"messages": [{"role": "user", "content": "Do a task using the list of ..."},
                  {"role": "assistant", "content": "The value of key 2931 is 8364 and ..."}],
     "context_id": "kv-simple:train:0:85x1:paper:0", "gold_position": 32, "depth": 0.369}
"""

import itertools
import os
import random
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

from kv_tasks.dictionaries import Context, Needle, Placement, Split, contexts
from kv_tasks.errors import UsageError
from kv_tasks.kinds import kind_of
from kv_tasks.kv_windows import fitted_contexts
from kv_tasks.training_forms import Form, place, shaped
from kv_tasks.windows import Window

_CHUNK = 8
# Tokens below which a second process costs more than it saves: it loads the tokenizer anew.
_WORTH_PROCESSES = 8_000_000


@dataclass(frozen=True, kw_only=True)
class Specification:
    """What to generate.

    Attributes:
        kind: a name of :data:`kv_tasks.kinds.KINDS`.
        samples: number of questions, a multiple of ``questions_per_context``.
        seed: of the training stream.
        dictionaries: lines of a haystack; None for the paper's number. Not with ``tokens``.
        tokens: window that prompt, chat template and answer fill.
        shortest: with ``tokens``: each haystack's window is drawn uniformly from here up.
        tokenizer: folder or hub name; needed with ``tokens``.
        questions_per_context: questions that share a haystack.
        placement: see :func:`kv_tasks.dictionaries.contexts`.
        template: whether the prompt shows the answer template.
        split: ``validation`` for prompts that training holds out; tasks evaluate ``eval``.
    """

    kind: str = "simple"
    samples: int = 350
    seed: int = 0
    dictionaries: int | None = None
    tokens: int | None = None
    shortest: int | None = None
    tokenizer: str | None = None
    questions_per_context: int = 1
    placement: Placement = "paper"
    template: bool = True
    split: Split = "train"

    def __post_init__(self) -> None:
        if self.questions_per_context < 1:
            raise UsageError(
                f"questions_per_context {self.questions_per_context}: choose 1 or more"
            )
        if self.samples < 1 or self.samples % self.questions_per_context:
            raise UsageError(
                f"samples {self.samples}: no multiple of questions_per_context "
                f"{self.questions_per_context}"
            )
        if self.shortest is not None and self.tokens is None:
            raise UsageError(f"shortest {self.shortest}: --shortest needs --tokens, the longest")
        if self.tokens is not None and self.tokenizer is None:
            raise UsageError(
                f"tokens {self.tokens}: --tokens needs --tokenizer FOLDER or ORG/NAME to count with"
            )
        if self.tokenizer is not None and self.tokens is None:
            raise UsageError(f"tokenizer {self.tokenizer}: --tokenizer needs --tokens to fill")
        if self.shortest is not None and not 1 <= self.shortest <= (self.tokens or 0):
            raise UsageError(
                f"shortest {self.shortest}: choose 1 to the longest window, tokens {self.tokens}"
            )
        if self.tokens is not None and self.dictionaries is not None:
            raise UsageError(
                f"dictionaries {self.dictionaries} and tokens {self.tokens}: choose one, a window "
                "holds as many dictionaries as fit"
            )
        kind_of(self.kind)

    @property
    def contexts(self) -> int:
        """The number of haystacks."""
        return self.samples // self.questions_per_context

    def window(self, index: int) -> Window:
        """Return the window of haystack number ``index``."""
        assert self.tokens is not None and self.tokenizer is not None
        tokens = self.tokens
        if self.shortest is not None:
            rng = random.Random(f"window:{self.seed}:{index}")
            tokens = rng.randint(self.shortest, self.tokens)
        return Window(tokens, self.tokenizer, kind_of(self.kind).answer_tokens)


def generate(specification: Specification, *, workers: int = 1) -> Iterator[Context]:
    """Yield the haystacks with their needles, in order, the same for any number of workers.

    Args:
        specification: what to generate.
        workers: processes; more than one pays for windows of tokens only.

    Raises:
        UsageError, DataError, ModelError: when a haystack cannot hold what is asked.
    """
    kind = kind_of(specification.kind)
    if specification.tokens is None:
        yield from contexts(
            kind,
            split=specification.split,
            seed=specification.seed,
            count=specification.contexts,
            dictionaries=specification.dictionaries or kind.dictionaries,
            questions=specification.questions_per_context,
            placement=specification.placement,
        )
        return
    starts = range(0, specification.contexts, _CHUNK)
    if workers == 1 or specification.contexts * specification.tokens < _WORTH_PROCESSES:
        for start in starts:
            yield from _chunk(specification, start)
        return
    # A spawned process has no locks and threads of this one.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        ahead: deque[Future[list[Context]]] = deque()
        todo = iter(starts)
        for start in itertools.islice(todo, 2 * workers):
            ahead.append(pool.submit(_chunk, specification, start))
        while ahead:
            made = ahead.popleft().result()
            for start in itertools.islice(todo, 1):
                ahead.append(pool.submit(_chunk, specification, start))
            yield from made


def _chunk(specification: Specification, start: int) -> list[Context]:
    return [
        fitted.context
        for index in range(start, min(start + _CHUNK, specification.contexts))
        for fitted in fitted_contexts(
            kind_of(specification.kind),
            specification.window(index),
            split=specification.split,
            seed=specification.seed,
            count=1,
            questions=specification.questions_per_context,
            placement=specification.placement,
            template=specification.template,
            start=index,
        )
    ]


def rows(
    specification: Specification,
    *,
    form: Form = "messages",
    multi_turn: bool = False,
    workers: int | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file, in constant memory.

    Args:
        specification: what to generate.
        form: see :func:`kv_tasks.training_forms.shaped`.
        multi_turn: all questions of a haystack as turns of one conversation.
        workers: processes, all cores by default.

    Raises:
        UsageError: when there can be no turns: one question a haystack, a window of tokens, or
            prompts and completions.
    """
    if multi_turn:
        _check_turns(specification, form)
    for context in generate(specification, workers=workers or os.cpu_count() or 1):
        if multi_turn:
            yield _row(context, context.needles, specification.template, form)
        else:
            for needle in context.needles:
                yield _row(context, (needle,), specification.template, form)


def _check_turns(specification: Specification, form: Form) -> None:
    if form == "prompt-completion":
        raise UsageError("multi_turn: a conversation has no prompt and completion; use messages")
    if specification.questions_per_context == 1:
        raise UsageError(
            "--multi-turn with one question a haystack: there is one turn only; choose "
            "--questions-per-context 2 or more, or leave --multi-turn out"
        )
    # A window is filled by its first turn; the others would go beyond it.
    if specification.tokens is not None:
        raise UsageError(
            f"--multi-turn with --tokens {specification.tokens}: a window has no room for further "
            "turns; choose --dictionaries instead of --tokens, or leave --multi-turn out"
        )


def _row(
    context: Context, needles: tuple[Needle, ...], template: bool, form: Form
) -> dict[str, Any]:
    first = needles[0]
    asked = [context.prompt(first, template=template)]
    asked += [needle.asked(template=template) for needle in needles[1:]]
    answers = [needle.answer for needle in needles]
    where = place(context.context_id, first.golds[0].dictionary, len(context.dictionaries))
    return shaped(list(zip(asked, answers, strict=True)), form, where)
