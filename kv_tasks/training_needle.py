"""Training on a needle in a haystack: one of the paper's baselines for its synthetic data.

One row, shortened; those of a haystack follow one another:

    {"messages": [{"role": "user", "content": "Answer the question at the end from the ..."},
                  {"role": "assistant", "content": "The special magic Paris number is 6818260."}],
     "context_id": "needle-training:train:0:6x2:0", "gold_position": 4, "depth": 0.6}

Published are the needle, "The special magic {city} number is: {number}." with 7 digits, and
its question: the variant of G. Kamradt's test by Arize AI
(github.com/Arize-ai/LLMTest_NeedleInAHaystack), close to RULER's (arXiv 2404.06654). The
paper's own rows are not at hand, so the rest is ours: the instruction, generated text instead
of essays, each sentence on a line of its own, the answer as a sentence, and several needles in
one haystack. Depths are even, in every prefix of the rows.
"""

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from kv_tasks.dictionaries import gold_places
from kv_tasks.errors import UsageError
from kv_tasks.needle_text import CITIES, INSTRUCTION, Needle, prompt, running_text
from kv_tasks.tokens import count_lines, count_tokens, longest
from kv_tasks.training_data import Specification
from kv_tasks.training_forms import Form, place, shaped
from kv_tasks.windows import Window, fitting

# About 4,000 tokens of the generated text, the length of the paper's other training prompts.
LINES = 150

_NUMBERS = range(10**6, 10**7)
_BEFORE, _AFTER = f"{INSTRUCTION}\n\n", "\nWhat is the special magic"
# Tokens that a chat template writes behind an answer.
_TURN_END = 4
# Sentences among which the last ones of a window are looked for.
_SPARE = 24


def rows(
    *,
    samples: int,
    tokens: int | None = None,
    tokenizer: str | None = None,
    shortest: int | None = None,
    lines: int | None = None,
    questions_per_context: int = 1,
    text: Path | None = None,
    seed: int = 0,
    split: Literal["train", "validation"] = "train",
    form: Form = "messages",
) -> Iterator[dict[str, Any]]:
    """Yield training rows in constant memory, those of a haystack one after another.

    Args:
        samples: number of rows, a multiple of ``questions_per_context``.
        tokens: window that prompt, chat template and answer fill.
        tokenizer: folder or hub name; needed with ``tokens``.
        shortest: with ``tokens``: each haystack's window is drawn uniformly from here up.
        lines: of each haystack, needles included; :data:`LINES` by default. Not with ``tokens``.
        questions_per_context: needles in a haystack, each of another city.
        text: see :func:`kv_tasks.needle_text.running_text`.
        seed: of cities, numbers, depths and text.
        split: ``validation`` for rows to hold out: other needles, the same text in another order.
        form: see :func:`kv_tasks.training_forms.shaped`.

    Raises:
        UsageError: when the arguments cannot work together.
        DataError: when the text cannot be used, or a window is too short for the questions.
        ModelError: when the tokenizer cannot be loaded.
    """
    lines = _lines(lines, tokens, questions_per_context)
    # Samples and windows obey the same rules as those of dictionaries.
    made = Specification(
        samples=samples,
        seed=seed,
        tokens=tokens,
        shortest=shortest,
        tokenizer=tokenizer,
        questions_per_context=questions_per_context,
    )
    source = running_text(text)
    for index in range(made.contexts):
        window = None if tokens is None else made.window(index)
        size = f"{window.tokens}t" if window else f"{lines}"
        name = f"needle-training:{split}:{seed}:{size}x{questions_per_context}:{index}"
        haystack = _Haystack.drawn(name, index, questions_per_context)
        running = source(random.Random(f"{name}:text"))
        shown = haystack.filled(running, window) if window else haystack.of(running, lines)
        for number, needle in zip(haystack.places(len(shown)), haystack.needles, strict=True):
            where = place(name, number + 1, len(shown))
            yield shaped([(prompt(shown, needle.question), needle.answer)], form, where)


def _lines(lines: int | None, tokens: int | None, questions: int) -> int:
    """Return the lines of a haystack without a window.

    Raises:
        UsageError: when a haystack cannot hold so many needles, or two lengths are given.
    """
    if not 1 <= questions <= len(CITIES):
        raise UsageError(
            f"questions_per_context {questions}: choose 1 to {len(CITIES)}, as each needs a city "
            "of its own"
        )
    if lines is not None and tokens is not None:
        raise UsageError(
            f"lines {lines} and tokens {tokens}: choose one, a window holds as many lines as fit"
        )
    wanted = LINES if lines is None else lines
    if tokens is None and wanted <= questions:
        raise UsageError(
            f"lines {wanted}: {questions} questions a context need {questions + 1} lines or more; "
            "ask fewer questions or choose more lines"
        )
    return wanted


@dataclass(frozen=True)
class _Haystack:
    """The needles of haystack number ``index``, and where they stand in any number of lines."""

    name: str
    index: int
    needles: tuple[Needle, ...]

    @classmethod
    def drawn(cls, name: str, index: int, count: int) -> "_Haystack":
        """Return a haystack of ``count`` needles, no city and no number twice."""
        rng = random.Random(name)
        cities, numbers = rng.sample(CITIES, count), rng.sample(_NUMBERS, count)
        return cls(name, index, tuple(map(Needle, cities, numbers)))

    def places(self, lines: int) -> list[int]:
        """Return each needle's 0-based line."""
        rng = random.Random(f"{self.name}:places")
        return gold_places(rng, self.index, lines, len(self.needles), "even")

    def of(self, text: Iterator[str], lines: int) -> list[str]:
        """Return so many lines."""
        return self._mixed(list(itertools.islice(text, lines - len(self.needles))))

    def _mixed(self, text: Sequence[str]) -> list[str]:
        """Return all lines, those of the text and the needles."""
        lines = list(text)
        places = self.places(len(text) + len(self.needles))
        for number, needle in sorted(zip(places, self.needles, strict=True), key=lambda p: p[0]):
            lines.insert(number, needle.sentence)
        return lines

    def filled(self, text: Iterator[str], window: Window) -> list[str]:
        """Return as many lines as fit the window.

        Raises:
            DataError: when there is no room for the needles and a line of text.
        """
        tokenizer = window.tokenizer
        answers = count_tokens(tokenizer, [needle.answer for needle in self.needles])
        window = replace(window, answer_tokens=max(answers) + _TURN_END)
        question = longest(tokenizer, [needle.question for needle in self.needles])
        stated = [needle.sentence for needle in self.needles]
        needles = sum(count_lines(tokenizer, stated, before=_BEFORE, after=_AFTER))
        chosen = _fitting(text, window, window.room(prompt([], question)) - needles)

        def render(lines: int) -> str:
            return prompt(self._mixed(chosen[: lines - len(stated)]), question)

        most = len(chosen) + len(stated)
        proof = window.prove(most, render, fewest=len(stated) + 1)
        return self._mixed(chosen[: proof.lines - len(stated)])


def _fitting(text: Iterator[str], window: Window, room: int) -> list[str]:
    """Return sentences of ``room`` tokens, as nearly as can be.

    A sentence can be a hundred tokens, a tenth of a short window. So the last ones, at most
    three, are not the next of the text, but those of the next few that leave the least room.
    """
    taken, counts = window.costs(text, room, before=_BEFORE, after=_AFTER)
    more = list(itertools.islice(text, _SPARE))
    taken += more
    counts += count_lines(window.tokenizer, more, before=_BEFORE, after=_AFTER)
    kept = max(0, fitting(counts, room) - 2)
    left = room - sum(counts[:kept])

    def cost(tail: tuple[int, ...]) -> int:
        return sum(counts[line] for line in tail)

    spare = range(kept, kept + _SPARE)
    tails = itertools.chain(*(itertools.combinations(spare, size) for size in (1, 2, 3)))
    best = max((tail for tail in tails if cost(tail) <= left), key=cost, default=())
    return taken[:kept] + [taken[line] for line in best]
