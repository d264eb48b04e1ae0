"""One generated FLenQA document: a problem, as much padding as fits, and the row they make."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kv_tasks import flenqa
from kv_tasks.errors import DataError
from kv_tasks.files import sha256_file
from kv_tasks.flenqa_data import DEPTHS
from kv_tasks.flenqa_padding import (
    Dispersion,
    PaddingType,
    Stream,
    draws,
    mix,
    pieces,
    places,
    resampled,
    running_text,
)
from kv_tasks.flenqa_problems import MAKERS, Problem, key_problem
from kv_tasks.tokens import longest
from kv_tasks.windows import Window

Padding = Literal["mixed", "same", "books"]

# How a length without a tokenizer is understood: words, punctuation marks and line breaks are
# pieces. Measured with SmolLM2: 0.93 to 0.97 a token in the generated texts, 0.94 in speeches.
PIECES_PER_TOKEN = 0.95


@dataclass(frozen=True)
class Settings:
    """What the documents of one task have in common.

    Attributes:
        dispersion: where the key paragraphs stand.
        padding: ``mixed`` is half of the documents with each.
        data_seed: of problems and padding.
        length: tokens that the documents are for; what is counted depends on ``window``.
        window: counts the whole prompt; None counts the pieces of the padded text.
        padding_text: the user's text file for the padding ``books``.
    """

    dispersion: Dispersion
    padding: Padding
    data_seed: int
    length: int
    window: Window | None
    padding_text: str | None

    @property
    def key(self) -> dict[str, Any]:
        """What decides the documents beside the window, as JSON values."""
        text = self.padding_text
        return {
            "dispersion": self.dispersion,
            "padding": self.padding,
            "data_seed": self.data_seed,
            "padding_text": None if text is None else sha256_file(Path(text)),
        }

    def padding_of(self, index: int) -> PaddingType:
        """Return the padding of document ``index``.

        It changes every two documents and the label every one: four in a row have each pair.
        """
        if self.padding == "mixed":
            return "same" if index // 2 % 2 == 0 else "books"
        return self.padding

    def stream_for(self, problem: Problem, index: int) -> Stream:
        """Return the padding that a problem's document takes its run from."""
        tokenizer = None if self.window is None else self.window.tokenizer
        if self.padding_of(index) == "same":
            return resampled(problem.kind, self.data_seed, tokenizer)
        return running_text(self.padding_text, self.data_seed, tokenizer)


class Padded:
    """A problem with as much padding as is asked for."""

    def __init__(self, settings: Settings, index: int) -> None:
        """Make the problem and find its run of padding."""
        self._settings = settings
        self._index = index
        self._problem = key_problem(settings.data_seed, index)
        self._stream = settings.stream_for(self._problem, index)
        self._start, self._draws = draws(settings.data_seed, index, self._stream.starts)

    def document(self, units: int) -> dict[str, Any]:
        """Return the task's document with so many units of padding."""
        row = self._row(self._text(units))
        return flenqa.document_of(row, depth=DEPTHS[self._settings.dispersion])

    def nearest(self) -> int:
        """Return the number of units that comes nearest to a length without a tokenizer.

        Raises:
            DataError: when the key paragraphs alone are longer.
        """
        length = self._settings.length
        room = round(length * PIECES_PER_TOKEN) - pieces(self._text(0))
        if room < 0:
            raise DataError(
                f"flenqa_synth: ctx_size {length} is shorter than the key paragraphs; choose "
                "250 or more"
            )
        fits = self._stream.fitting(self._start, room)
        under = room - self._stream.cost(self._start, fits)
        over = self._stream.cost(self._start, fits + 1) - room
        return fits if under <= over else fits + 1

    def fitting(self, sized: Window) -> int:
        """Return the number of units that fill a window, proved by tokenizing the prompt.

        The prompt is the longer of the two, so that the other one fits as well.
        """
        both = (flenqa.doc_to_text, flenqa.doc_to_text_cot)
        frames = [ask(self.document(0)) for ask in both]
        frame = longest(sized.tokenizer, frames)
        render = both[frames.index(frame)]
        fits = self._stream.fitting(self._start, sized.room(frame))
        return sized.prove(fits, lambda n: render(self.document(n)), fewest=0).lines

    def _text(self, units: int) -> str:
        where = places(self._settings.dispersion, units, self._draws)
        run = self._stream.run(self._start, units)
        return mix(self._problem.paragraphs, run, self._stream.separator, where)

    def _row(self, text: str) -> dict[str, Any]:
        """Return a row in the published form, whose problem is known by its seed and number."""
        problem, settings = self._problem, self._settings
        ruletaker = problem.rule is not None
        return {
            "global_sample_id": f"synth-{settings.data_seed}-{self._index:04d}",
            "sample_id": self._index // len(MAKERS),
            "label": str(problem.label),
            "dataset": problem.kind,
            "facts": None if ruletaker else list(problem.facts),
            # A list of one rule, as published: the prompt shows the brackets.
            "rule": [problem.rule] if ruletaker else None,
            "statement": list(problem.facts) if ruletaker else None,
            "assertion/question": problem.question,
            "mixin": text,
            "padding_type": settings.padding_of(self._index),
            "dispersion": settings.dispersion,
            "ctx_size": settings.length,
        }
