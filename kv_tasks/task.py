"""The harness's task, minus three silent failures: the ``class`` of this project's YAML.

- A prompt that the harness would cut is refused before the first token is generated, or
  skipped and counted in the results (``--metadata '{"too_long": "skip"}'``).
- The harness's cache of requests is keyed by the documents, so that other metadata or another
  tokenizer never meets old prompts.
- Every document says how many tokens its prompt has, where the tokenizer is known.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lm_eval.api.task import ConfigurableTask

from kv_tasks import console
from kv_tasks.errors import ModelError, PromptTooLongError
from kv_tasks.model_arguments import ModelArguments
from kv_tasks.tokens import as_read, count_read, load_tokenizer

# The harness's own default where a task or user states none.
_ANSWER_TOKENS = 256


class Task(ConfigurableTask):  # type: ignore[misc]
    """A task of this project, which the harness builds from its YAML."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._lengths: dict[int, int] = {}
        # Documents that are kept, where any is skipped; see doc_iterator.
        self._skipped: dict[int, int] = {}
        super().__init__(config={key: value for key, value in config.items() if key != "class"})
        self._model = ModelArguments.of(self.config.metadata or {})

    def download(self, dataset_kwargs: dict[str, Any] | None = None, **_: Any) -> None:
        """Build the documents, as the harness does but without its hint at every task."""
        self.dataset = self.config.custom_dataset(
            **(self.config.metadata or {}), **(dataset_kwargs or {})
        )

    def build_all_requests(
        self,
        *,
        tokenizer_name: str = "",
        cache_requests: bool = False,
        samples: list[int] | None = None,
        chat_template: Callable[..., str] | None = None,
        **arguments: Any,
    ) -> None:
        """Build the requests, measure them, and refuse or skip what would be cut.

        Raises:
            PromptTooLongError: naming the task, the longest prompt, the limit, and the mend.
        """
        self._lengths, self._skipped = {}, {}
        if cache_requests:
            tokenizer_name += f"-{self._fingerprint(samples, chat_template)}"
        super().build_all_requests(
            tokenizer_name=tokenizer_name,
            cache_requests=cache_requests,
            samples=samples,
            chat_template=chat_template,
            **arguments,
        )
        self._measure()

    def doc_iterator(self, **arguments: Any) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield (number, document) of what is not skipped, with ``length`` as measured.

        Where the user chose to skip, ``skipped`` is how many documents were left out before
        this one, or after the last; their sum is the task's.
        """
        for number, doc in super().doc_iterator(**arguments):
            if not self._skipped:
                yield number, {**doc, "length": self._lengths.get(number, doc["length"])}
            elif number in self._skipped:
                counted = {"length": self._lengths[number], "skipped": self._skipped[number]}
                yield number, {**doc, **counted}

    def process_results(self, doc: dict[str, Any], results: list[str]) -> dict[str, Any]:
        """Score one document; see :meth:`doc_iterator` for ``skipped``."""
        scores: dict[str, Any] = super().process_results(doc, results)
        # Under --predict_only nothing is scored, and the harness would average these counts.
        if self._model.too_long == "skip" and "bypass" not in self._metric_fn_list:
            scores["skipped"] = doc.get("skipped", 0)
        return scores

    def _fingerprint(
        self, samples: list[int] | None, chat_template: Callable[..., str] | None
    ) -> str:
        """Return a digest of all that decides the requests beside what the harness's key has."""
        probe = [{"role": "user", "content": "x"}]
        digest = hashlib.sha256()
        digest.update(repr(chat_template(probe)).encode() if chat_template else b"")
        digest.update(repr((samples, self.config.generation_kwargs)).encode())
        for doc in self.eval_docs:
            digest.update(json.dumps(dict(doc), ensure_ascii=False).encode())
            digest.update(str(self.doc_to_text(doc)).encode())
        return digest.hexdigest()[:16]

    def _measure(self) -> None:
        """Count the tokens of all requests, the first one that the harness adds included."""
        model = self._model
        if model.tokenizer is None:
            self._warn_unmeasured("the tokenizer is not known here; name it as metadata tokenizer")
            return
        try:
            tokenizer = load_tokenizer(model.tokenizer, **model.loading)
        except ModelError as error:
            if model.named:
                raise
            console.warn(f"task {self.task_name}: no prompt is measured: {error}")
            return
        if model.limit is None and model.cuts:
            self._warn_unmeasured("the model is not known here; check its context")
        texts = [as_read(tokenizer, request.args[0]) for request in self.instances]
        needed = {}
        for request, count in zip(self.instances, count_read(tokenizer, texts), strict=True):
            self._lengths[request.doc_id] = count
            answer = request.args[1].get("max_gen_toks", _ANSWER_TOKENS)
            if model.limit is not None and count + answer > model.limit:
                needed[request.doc_id] = count + answer
        if needed:
            self._too_long(needed)

    def _warn_unmeasured(self, why: str) -> None:
        # Chats that a service renders are no strings; the harness cannot cut those.
        if any(isinstance(request.args[0], str) for request in self.instances):
            console.warn(
                f"task {self.task_name}: a prompt that is too long may be cut unseen: {why}, and "
                "give the context as model argument max_length"
            )

    def _too_long(self, needed: Mapping[int, int]) -> None:
        """Raise, or drop the requests of the documents in ``needed`` (tokens by document)."""
        model = self._model
        kept = [request for request in self.instances if request.doc_id not in needed]
        if model.too_long == "skip" and kept:
            self._instances = kept
            waiting = 0
            for number in self._lengths:
                waiting += number in needed
                if number not in needed:
                    self._skipped[number], waiting = waiting, 0
            self._skipped[kept[-1].doc_id] += waiting
            return
        ways = (
            "leave the task out: none fits, of those that this process has"
            if model.too_long == "skip"
            else 'leave such documents out with --metadata \'{"too_long": "skip"}\' '
            "(kv-adapters eval: --too-long skip)"
        )
        worst = max(needed, key=lambda number: needed[number])
        raise PromptTooLongError(
            f"task {self.task_name}: {len(needed)} of {len(self._lengths)} prompts do not fit; the "
            f"longest, document {worst}, needs {needed[worst]} tokens with its answer and the "
            f"model has {model.limit}; the harness would cut it silently: raise the model "
            f"argument {model.raised_by} (kv-adapters eval: --max-length) if the model allows it, "
            f"choose a shorter task, or {ways}"
        )
