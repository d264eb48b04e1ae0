"""The base model's own answers to ordinary prompts: training data against forgetting.

Retrieval prompts all have short answers of one form, and a small model that trains on nothing
else gives up every other form. Its own answers, mixed in, teach it nothing and hold it to how it
answered before (self-distillation; Xiong et al. propose synthetic data as a part of a larger
instruction set for the same reason):

    kv-train own-answers smollm2-135m --out own-answers.jsonl
    mix: [{file: own-answers.jsonl}]

An answer is decoded greedily. One that does not end by itself within the tokens allowed is left
out and counted: training on it would teach to stop in the middle.
"""

import glob
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers.utils import logging as transformers_logging

from kv_tasks import console
from kv_tasks.errors import DataError, ModelError, PromptTooLongError, RunError
from kv_tasks.files import write_jsonl
from kv_tasks.journal import Journal
from kv_tasks.tokens import chat_prompt, load_tokenizer
from kv_train.alone import alone
from kv_train.building import base_model, use_all_cores
from kv_train.examples import read_rows
from kv_train.models import base_checksum, tokenizer_checksum
from kv_train.precision import DTYPES, best_precision
from kv_train.refusal import read_config, refuse_untrainable
from kv_train.tokens import encode

# Tokens, template and all, of two words.
LONGEST = 65_536
# Digits of an identity that a partial file is named by.
MARK = 16


class Answering(Protocol):
    """Answers prompts; None where an answer does not end."""

    def __call__(self, prompts: Sequence[str]) -> Sequence[str | None]:
        """Return one answer a prompt."""


class Greedy:
    """A model that answers greedily, several prompts together."""

    def __init__(
        self, folder: Path, max_tokens: int, template_kwargs: Mapping[str, Any] | None = None
    ) -> None:
        """Load the model; raise ModelError where it could not be trained either."""
        transformers_logging.disable_progress_bar()
        # A copy: others that count with it know no padding.
        self._tokenizer = deepcopy(load_tokenizer(str(folder)))
        if not self._tokenizer.chat_template:
            raise ModelError(f"{folder}: no chat template; choose an instruction-tuned model")
        self._options = dict(template_kwargs or {})
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        refuse_untrainable(read_config(folder), str(folder))
        model = base_model(folder, dtype=DTYPES[best_precision()])
        if torch.accelerator.is_available():
            model = model.to(torch.accelerator.current_accelerator())
        else:
            use_all_cores()
        self._model = model.eval()
        self._max_tokens = max_tokens
        config = self._model.generation_config
        ends = config.eos_token_id
        named = ends if isinstance(ends, list) else [ends]
        self._ends = {*named, self._tokenizer.eos_token_id, self._end_of_turn(folder)} - {None}
        config.update(
            do_sample=False, temperature=None, top_p=None, top_k=None, repetition_penalty=1.0,
            no_repeat_ngram_size=0, max_length=None, max_new_tokens=max_tokens,
            eos_token_id=sorted(self._ends), pad_token_id=self._tokenizer.pad_token_id,
        )  # fmt: skip

    def __call__(self, prompts: Sequence[str]) -> list[str | None]:
        """See :class:`Answering`; raise RunError where the GPU's memory does not do."""
        texts = [self._rendered(prompt) for prompt in prompts]
        encoded = self._tokenizer(
            texts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False
        ).to(self._model.device)
        try:
            with torch.no_grad():
                made = self._model.generate(**encoded)
        except torch.OutOfMemoryError as error:
            raise RunError(
                f"the GPU's memory is full with {len(prompts)} prompts together; the same command "
                "with a lower --batch-size goes on from here"
            ) from error
        return [self._text(ids) for ids in made[:, encoded["input_ids"].shape[1] :].tolist()]

    def check(self, prompts: Sequence[str]) -> None:
        """Refuse a prompt that leaves no room for its answer in the model's context.

        Raises:
            PromptTooLongError: naming the first such prompt, by its number.
        """
        context = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        if context is None:
            return
        for number, prompt in enumerate(prompts, start=1):
            ids = self._tokenizer(self._rendered(prompt), add_special_tokens=False)["input_ids"]
            if len(ids) + self._max_tokens > context:
                raise PromptTooLongError(
                    f"prompt {number}, {prompt[:40]!r}: {len(ids)} tokens and {self._max_tokens} "
                    f"of an answer, more than the {context} of the model; shorten it, or lower "
                    "--max-tokens"
                )

    def _end_of_turn(self, folder: Path) -> int:
        """Return the token that a trained answer ends with, which need be no end of a text."""
        turn = [{"role": role, "content": "Hello."} for role in ("user", "assistant")]
        row = encode(
            self._tokenizer, {"messages": turn}, name=str(folder), max_length=LONGEST,
            template_kwargs=self._options,
        )  # fmt: skip
        return row.input_ids[-1]

    def _rendered(self, prompt: str) -> str:
        return str(chat_prompt(self._tokenizer, prompt, **self._options))

    def _text(self, ids: list[int]) -> str | None:
        end = next((place for place, token in enumerate(ids) if token in self._ends), None)
        if end is None:
            return None
        return str(self._tokenizer.decode(ids[:end], skip_special_tokens=True)).strip() or None


def identity(folder: Path, prompts: Sequence[str], settings: Mapping[str, Any]) -> str:
    """Digest all that decides the answers."""
    known = [
        base_checksum(folder), tokenizer_checksum(folder), best_precision(), list(prompts),
        dict(settings),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def write_own_answers(
    out: Path,
    prompts: Sequence[str],
    answering: Answering,
    mark: str,
    batch_size: int,
    *,
    overwrite: bool = False,
) -> int:
    """Write chat rows of the answers that end, in the order of the prompts; return their number.

    What is answered so far lies in a hidden file beside ``out``; the same call goes on from there.

    Args:
        out: JSON lines file.
        prompts: to answer.
        answering: the model.
        mark: :func:`identity` of model, prompts and settings.
        batch_size: prompts answered together.
        overwrite: replace ``out`` where it is there.

    Raises:
        RunError: ``out`` is there, or another process makes it.
        DataError: no answer ends.
    """
    with alone(out):
        if out.exists() and not overwrite:
            # Since the command began, which looked too.
            raise RunError(f"{out}: was made meanwhile; use it, or replace it by --overwrite")
        return _write(out, prompts, answering, mark, batch_size)


def _write(
    out: Path, prompts: Sequence[str], answering: Answering, mark: str, batch_size: int
) -> int:
    journal = Journal(out.with_name(f".{out.name}.{mark[:MARK]}.partial"))
    # Prompts of like length together: the shorter ones are padded to the longest.
    left = sorted(
        (number for number in range(len(prompts)) if str(number) not in journal),
        key=lambda number: (len(prompts[number]), number),
    )
    batches = [left[at : at + batch_size] for at in range(0, len(left), batch_size)]
    for batch in console.progress(batches, total=len(batches), named="batches"):
        journal.add(list(map(str, batch)), answering([prompts[number] for number in batch]))
    rows = list(_rows(prompts, journal))
    if rows:
        write_jsonl(out, rows)
    # Those of other models, prompts or settings, too: what they were for is there.
    digests = "[0-9a-f]" * MARK
    for partial in out.parent.glob(f".{glob.escape(out.name)}.{digests}.partial"):
        partial.unlink()
    if not rows:
        raise DataError(
            f"{out}: none of {len(prompts)} answers ended by itself; allow more by --max-tokens"
        )
    return len(rows)


def _rows(prompts: Sequence[str], journal: Journal) -> Iterator[dict[str, Any]]:
    for number, prompt in enumerate(prompts):
        if (answer := journal[str(number)]) is not None:
            asked = {"role": "user", "content": prompt}
            yield {"messages": [asked, {"role": "assistant", "content": answer}]}


def read_prompts(file: Path) -> list[str]:
    """Return the ``prompt`` of each line of a JSON lines file.

    Raises:
        DataError: naming the line without one.
    """
    if not file.exists():
        raise DataError(f'--prompts {file}: no such file; write one {{"prompt": "..."}} a line')
    prompts = []
    for number, row in enumerate(read_rows(file, "prompt"), start=1):
        prompt = row.get("prompt")
        if not isinstance(prompt, str) or not prompt.strip():
            raise DataError(
                f"{file}, line {number}: expected a text as 'prompt', found {prompt!r:.80}"
            )
        prompts.append(prompt)
    return prompts
