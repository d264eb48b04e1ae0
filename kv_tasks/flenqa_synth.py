"""``flenqa_synth``: generated problems in the form of FLenQA, padded to any length.

One prompt of 250 tokens, shortened, and its target (Levy et al., arXiv 2402.14848):

    Long before sunrise, the postman sent a basket of eggs to the boat shed. ...
    Carl Hewitt is in Megan Burton's pantry. A note on the front door says that ...
    The ground near the mill was empty until noon. ...
    Megan Burton's pantry is red-walled. Every visitor notices at once that ...
    True/False Question: Is Carl Hewitt in a blue-walled room?
    Answer only True or False.

    false

The prompts, the scores and the form of a row are the published ones
(:mod:`kv_tasks.flenqa`); problems and padding are generated. A problem keeps its key paragraphs
at every length, padding and dispersion, and a shorter padding is the beginning of a longer one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import datasets

from kv_tasks import flenqa
from kv_tasks.errors import DataError
from kv_tasks.flenqa_padding import DEPTHS, Dispersion, PaddingType, Stream, draws, mix, places
from kv_tasks.flenqa_padding import stream as padding_stream
from kv_tasks.flenqa_problems import MAKERS, Problem, key_problem
from kv_tasks.model_arguments import ModelArguments
from kv_tasks.registration import refuse_stale
from kv_tasks.tokens import count_tokens
from kv_tasks.windows import Window, window

Padding = Literal["mixed", "same", "books"]

# How a length without a tokenizer is understood. SmolLM2 has 4.4 to 4.7 characters a token in
# the generated texts.
CHARACTERS_PER_TOKEN = 4.55


@dataclass(frozen=True)
class Settings:
    """What the documents of one task have in common.

    Attributes:
        dispersion: where the key paragraphs stand.
        padding: ``mixed`` is half of the documents with each.
        data_seed: of problems and padding.
        length: tokens that the documents are for; what is counted depends on ``window``.
        window: counts the whole prompt; None counts the characters of the padded text.
        padding_text: the user's text file for the padding ``books``.
    """

    dispersion: Dispersion
    padding: Padding
    data_seed: int
    length: int
    window: Window | None
    padding_text: str | None

    def padding_of(self, index: int) -> PaddingType:
        """Return the padding of document ``index``; with its label's turn, four in a row differ."""
        if self.padding == "mixed":
            return "same" if index // 2 % 2 == 0 else "books"
        return self.padding

    def stream_for(self, problem: Problem, index: int) -> Stream:
        """Return the padding that a problem's document takes its run from."""
        name = None if self.window is None else self.window.tokenizer_name
        padding = self.padding_of(index)
        return padding_stream(padding, problem.kind, self.data_seed, self.padding_text, name)


def load(
    *,
    ctx_size: int | None = None,
    tokens: int | None = None,
    dispersion: Dispersion = "random",
    padding: Padding = "mixed",
    samples: int = 600,
    data_seed: int = 0,
    padding_text: str | None = None,
    config_source: str | None = None,
    **metadata: Any,
) -> dict[str, datasets.Dataset]:
    """Build the task's documents (the harness's ``custom_dataset``).

    Args:
        ctx_size: length of the padded text, as characters over :data:`CHARACTERS_PER_TOKEN`.
        tokens: or the window that prompt, chat template and 400 tokens of answer fill, for the
            model's own tokenizer. One of the two is given.
        dispersion: where the key paragraphs stand: first, middle, last or random.
        padding: ``same`` (paragraphs of other problems), ``books`` (running text) or ``mixed``.
        samples: number of documents; 12 in a row hold every kind, label and padding once.
        data_seed: of problems and padding.
        padding_text: UTF-8 text file for ``books``; generated sentences without it.
        config_source: the YAML file, as the harness passes it.
        metadata: what else the harness merges in; the tokenizer is looked for in it.

    Returns:
        One split, ``test``. Document i depends on the seed, i, the length and the tokenizer.

    Raises:
        DataError: when the YAML is a registered copy of another version, the metadata cannot be
            meant, no tokenizer is known for ``tokens``, or the padding text is too short.
        ModelError: when the tokenizer cannot be loaded.
    """
    refuse_stale(config_source)
    _check("dispersion", dispersion, get_args(Dispersion))
    _check("padding", padding, get_args(Padding))
    if (ctx_size is None) == (tokens is None) or samples < 1:
        raise DataError(
            f"flenqa_synth: ctx_size {ctx_size}, tokens {tokens}, samples {samples}; give one of "
            "ctx_size and tokens, and 1 sample or more"
        )
    name = ModelArguments.of(metadata).tokenizer
    sized = window(tokens, name, answer_tokens=flenqa.ANSWER_TOKENS, task="flenqa_synth")
    length = ctx_size or tokens or 0
    settings = Settings(dispersion, padding, data_seed, length, sized, padding_text)
    made = [_document(settings, index) for index in range(samples)]
    return {"test": datasets.Dataset.from_list(made)}


def _check(field: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise DataError(f"flenqa_synth: {field} {value!r}; choose one of {', '.join(choices)}")


def _document(settings: Settings, index: int) -> dict[str, Any]:
    problem = key_problem(settings.data_seed, index)
    stream = settings.stream_for(problem, index)
    start, drawn = draws(settings.data_seed, index, stream.starts)

    def padded(count: int) -> dict[str, Any]:
        where = places(settings.dispersion, count, drawn)
        units = stream.run(start, count)
        text = mix(problem.paragraphs, units, stream.separator, where)
        return _row(settings, problem, index, text)

    if settings.window is None:
        row = padded(_units_of_characters(settings.length, problem, stream, start))
        return flenqa.document_of(row, depth=DEPTHS[settings.dispersion])

    def prompt(count: int) -> str:
        return longer(flenqa.document_of(padded(count), depth=None))

    longer = _longer_prompt(settings.window, flenqa.document_of(padded(0), depth=None))
    fits = stream.fitting(start, settings.window.room(prompt(0)))
    proof = settings.window.prove(fits, prompt, fewest=0)
    return flenqa.document_of(padded(proof.lines), depth=DEPTHS[settings.dispersion])


def _units_of_characters(ctx_size: int, problem: Problem, stream: Stream, start: int) -> int:
    """Return the number of padding units that comes nearest to a length without a tokenizer."""
    room = round(ctx_size * CHARACTERS_PER_TOKEN) - sum(len(p) + 1 for p in problem.paragraphs)
    if room < 0:
        raise DataError(
            f"flenqa_synth: ctx_size {ctx_size} is shorter than the key paragraphs; choose 250 "
            "or more"
        )
    fits = stream.fitting(start, room)
    under, over = room - stream.cost(start, fits), stream.cost(start, fits + 1) - room
    return fits if under <= over else fits + 1


def _longer_prompt(sized: Window, doc: Mapping[str, Any]) -> Any:
    """Return the prompt that needs more tokens, so that a document fits the window in both."""
    both = (flenqa.doc_to_text, flenqa.doc_to_text_cot)
    counts = count_tokens(sized.tokenizer, [render(dict(doc)) for render in both])
    return both[counts[1] > counts[0]]


def _row(settings: Settings, problem: Problem, index: int, text: str) -> dict[str, Any]:
    """Return a row in the published form, whose problem is known by its seed and number."""
    ruletaker = problem.rule is not None
    return {
        "global_sample_id": f"synth-{settings.data_seed}-{index:04d}",
        "sample_id": index // len(MAKERS),
        "label": str(problem.label),
        "dataset": problem.kind,
        "facts": None if ruletaker else list(problem.facts),
        "rule": [problem.rule] if ruletaker else None,
        "statement": list(problem.facts) if ruletaker else None,
        "assertion/question": problem.question,
        "mixin": text,
        "padding_type": settings.padding_of(index),
        "dispersion": settings.dispersion,
        "ctx_size": settings.length,
    }
