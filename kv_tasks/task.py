"""The harness's task, minus three silent failures: the ``class`` of this project's YAML.

- A prompt that the harness would cut is refused before the first token is generated, or
  skipped and counted in the results (``--metadata '{"too_long": "skip"}'``).
- The harness's cache of requests is keyed by the documents, so that other metadata or another
  tokenizer never meets old prompts.
- Every document says how many tokens its prompt has, where the tokenizer is known.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from lm_eval.api.task import ConfigurableTask

from kv_tasks.errors import ModelError, PromptTooLongError
from kv_tasks.model_arguments import ModelArguments
from kv_tasks.tokens import count_tokens, load_tokenizer

# The harness's own default where a task or user states none.
_ANSWER_TOKENS = 256


class Task(ConfigurableTask):  # type: ignore[misc]
    """A task of this project, which the harness builds from its YAML."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._lengths: dict[int, int] = {}
        self._skipped: set[int] = set()
        super().__init__(config={key: value for key, value in config.items() if key != "class"})
        self._model = ModelArguments.of(self.config.metadata or {})

    def download(self, dataset_kwargs: dict[str, Any] | None = None, **_: Any) -> None:
        """Build the documents, as the harness does but without its hint at every task."""
        self.dataset = self.config.custom_dataset(
            **(self.config.metadata or {}), **(dataset_kwargs or {})
        )

    def build_all_requests(self, *, tokenizer_name: str = "", **arguments: Any) -> None:
        """Build the requests, measure them, and refuse or skip what would be cut.

        Raises:
            PromptTooLongError: naming the task, the longest prompt, the limit, and the mend.
        """
        self._lengths, self._skipped = {}, set()
        key = f"{tokenizer_name}-{self._fingerprint()}"
        super().build_all_requests(tokenizer_name=key, **arguments)
        self._measure()

    def doc_iterator(self, **arguments: Any) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield (number, document) of what is not skipped, with ``length`` as measured."""
        for number, doc in super().doc_iterator(**arguments):
            if number not in self._skipped:
                yield number, {**doc, "length": self._lengths.get(number, doc["length"])}

    def process_results(self, doc: dict[str, Any], results: list[str]) -> dict[str, Any]:
        """Score one document; ``skipped`` is the number of documents that were left out."""
        scores: dict[str, Any] = super().process_results(doc, results)
        if self._model.too_long == "skip":
            scores["skipped"] = len(self._skipped)
        return scores

    def _fingerprint(self) -> str:
        rows = json.dumps([dict(doc) for doc in self.eval_docs], ensure_ascii=False)
        return hashlib.sha256(rows.encode()).hexdigest()[:16]

    def _measure(self) -> None:
        model = self._model
        if model.tokenizer is None:
            return
        try:
            tokenizer = load_tokenizer(model.tokenizer)
        except ModelError:
            if model.named:
                raise
            return
        counts = count_tokens(tokenizer, [request.args[0] for request in self.instances])
        needed = {}
        for request, count in zip(self.instances, counts, strict=True):
            self._lengths[request.doc_id] = count
            answer = request.args[1].get("max_gen_toks", _ANSWER_TOKENS)
            if model.limit is not None and count + answer > model.limit:
                needed[request.doc_id] = count + answer
        if needed:
            self._too_long(needed)

    def _too_long(self, needed: Mapping[int, int]) -> None:
        """Raise, or drop the requests of the documents in ``needed`` (tokens by document)."""
        model = self._model
        kept = [request for request in self.instances if request.doc_id not in needed]
        if model.too_long == "skip" and kept:
            self._skipped = set(needed)
            self._instances = kept
            return
        worst = max(needed, key=lambda number: needed[number])
        raise PromptTooLongError(
            f"task {self.task_name}: {len(needed)} of {len(self._lengths)} prompts do not fit; the "
            f"longest, document {worst}, needs {needed[worst]} tokens with its answer and the "
            f"model has {model.limit}; the harness would cut it silently: raise the model "
            f"argument {model.raised_by} if the model allows it, choose a shorter task, or leave "
            'such documents out with --metadata \'{"too_long": "skip"}\''
        )
