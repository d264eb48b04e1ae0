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

from pathlib import Path
from typing import Any, get_args

import datasets

from kv_tasks.cache import cached_rows
from kv_tasks.documents import check_choice, check_samples
from kv_tasks.errors import DataError
from kv_tasks.flenqa import ANSWER_TOKENS
from kv_tasks.flenqa_documents import Padded, Padding, Settings
from kv_tasks.flenqa_padding import Dispersion
from kv_tasks.model_arguments import ModelArguments
from kv_tasks.registration import refuse_stale
from kv_tasks.windows import window


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
        ctx_size: length of the padded text in tokens, by a rule that needs no tokenizer
            (:data:`kv_tasks.flenqa_documents.PIECES_PER_TOKEN`).
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
    check_choice("flenqa_synth", "dispersion", dispersion, get_args(Dispersion))
    check_choice("flenqa_synth", "padding", padding, get_args(Padding))
    check_samples("flenqa_synth", samples, endless=True)
    if (ctx_size is None) == (tokens is None):
        raise DataError(
            f"flenqa_synth: ctx_size {ctx_size}, tokens {tokens}; give one of them, null for the "
            "other"
        )
    if padding_text is not None:
        _check_text(padding_text, padding)
    wanted = None
    if tokens is not None:
        model = ModelArguments.of(metadata)
        wanted = window(tokens, model, answer_tokens=ANSWER_TOKENS, task="flenqa_synth")
    length = ctx_size or tokens or 0
    settings = Settings(dispersion, padding, data_seed, length, wanted, padding_text)
    counts = _counts(settings, samples)
    made = [Padded(settings, n).document(count) for n, count in enumerate(counts)]
    return {"test": datasets.Dataset.from_list(made)}


def _check_text(path: str, padding: Padding) -> None:
    if padding == "same":
        raise DataError(
            f"flenqa_synth: padding_text {path} with padding same, which has no running text; "
            "choose padding books or mixed"
        )
    if not Path(path).is_file():
        raise DataError(f"flenqa_synth: padding_text {path}: no such file; name a UTF-8 .txt file")


def _counts(settings: Settings, samples: int) -> list[int]:
    """Return how many units of padding each document has."""
    documents = (Padded(settings, index) for index in range(samples))
    if settings.window is None:
        return [padded.nearest() for padded in documents]
    sized = settings.window
    key = {**settings.key, "task": "flenqa_synth", "samples": samples}
    rows = cached_rows(key, sized, lambda: ({"units": p.fitting(sized)} for p in documents))
    return list(rows["units"])
