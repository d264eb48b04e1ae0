"""A running OpenAI-compatible server, such as vLLM's: the models that it serves by name.

The harness's model for such servers cuts prompts at 2,047 tokens without a word unless it is
told otherwise; here the context is the one that the server states.
"""

import os
import ssl
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import httpx

from kv_adapters.backends import PATIENCE, Settings
from kv_adapters.chat_template import templated
from kv_adapters.evaluation.answers import PART, recorded
from kv_tasks.errors import ServiceError, UsageError

# Requests on their way at once unless said otherwise; the server batches them.
CONCURRENT = 16
KEY = "OPENAI_API_KEY"
# A busy server answers late.
TIMEOUT = 60
# The beginning of a template answer, where an adapter has something to say.
PROBE = "Dictionary [1] {12: 345, 678: 901}\nReport the value of key 12.\nThe value of key"


class ServerBackend:
    """See :class:`kv_adapters.backends.Backend`."""

    def __init__(self, settings: Settings) -> None:
        """Ask the server what it serves; nothing is loaded here but the tokenizer."""
        from lm_eval.models.openai_completions import LocalCompletionsAPI

        if settings.url is None:
            raise UsageError("--backend server needs --url, such as http://127.0.0.1:8000")
        self._url = settings.url.rstrip("/").removesuffix("/v1")
        self._served = served_models(self._url)
        self._base = self._name_of_base(settings)
        context = self._served[self._base] or settings.max_length
        if context is None:
            raise UsageError(
                f"--url {settings.url}: the server does not state its context; give --max-length"
            )
        concurrent = settings.batch_size or CONCURRENT
        self._arguments: dict[str, Any] = {
            "base_url": f"{self._url}/v1/completions",
            "model": self._base,
            "tokenizer": str(settings.base),
            "tokenizer_backend": "huggingface",
            # The harness takes one token off, for an answer that it leaves room for elsewhere.
            "max_length": min(context, settings.max_length or context) + 1,
            "num_concurrent": concurrent,
            "timeout": PATIENCE,
            "seed": settings.seed,
        }
        harness_class = templated(LocalCompletionsAPI, settings.chat_template_args)
        # A part is waited for to its last answer, so a few times as many keep the server busy.
        part = max(PART, 8 * concurrent)
        made = recorded(_as_in_an_engine(harness_class), part=part, least=2 * concurrent)
        self.lm = made(**self._arguments)
        # Of the server, in tokens; it may be shorter than the model's.
        self.context = self._arguments["max_length"] - 1
        served = [self._check(adapter.name) for adapter in settings.adapters]
        refuse_silent(self._url, self._base, served)

    def select(self, adapter: Path | None) -> None:
        """Answer with this adapter from now on; None is the base model."""
        self.lm.model = adapter.name if adapter else self._base

    def describe(self) -> dict[str, Any]:
        """Return what the server is asked with."""
        version = metadata.version("lm_eval")
        return {
            **self._arguments,
            "model": self.lm.model,
            "backend": f"server, lm_eval {version}",
            # A server does not tell the checksums of what it loaded, and when.
            "weights": "not verified: those that the server has loaded under this name",
        }

    def _name_of_base(self, settings: Settings) -> str:
        """Return the name under which the base is served: as given, or its folder's."""
        for name in (settings.base_name, str(settings.base), settings.base.name):
            if name in self._served:
                return name
        return self._check(settings.base_name)

    def _check(self, name: str) -> str:
        if name not in self._served:
            raise UsageError(
                f"--url {self._url}: serves {', '.join(self._served)}, no {name!r}; serve base and "
                "adapters under their names: kv-adapters serve"
            )
        return name


def _as_in_an_engine(harness_class: type[Any]) -> type[Any]:
    """Return the class with prompts encoded, and answers chosen, as hf and vllm models do.

    The harness's class adds no special tokens; a Llama or Mistral without its first token scores
    worse. A prompt that begins with it, as chat templates write it, does not get a second. And
    vLLM's server applies the repetition penalty of the model's own settings where none is named.
    """

    def tok_encode(
        self: Any,
        string: Any,
        left_truncate_len: int | None = None,
        add_special_tokens: bool | None = None,
        **options: Any,
    ) -> Any:
        if not isinstance(string, str):
            # The harness encodes prompts to be continued in lists, and says False of them.
            return [tok_encode(self, one, left_truncate_len) for one in string]
        if add_special_tokens is None:
            begun = self.tokenizer.bos_token and string.startswith(self.tokenizer.bos_token)
            add_special_tokens = not begun
        return harness_class.tok_encode(
            self, string, left_truncate_len, add_special_tokens, **options
        )

    def payload(self: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
        asked = dict(harness_class._create_payload(self, *arguments, **options))
        return {"repetition_penalty": 1.0, **asked}

    methods = {"tok_encode": tok_encode, "_create_payload": payload}
    return type(harness_class.__name__, (harness_class,), methods)


def refuse_silent(url: str, base: str, adapters: Sequence[str]) -> None:
    """Refuse an adapter under whose name the server gives the base model's answers.

    All are asked for the next token's log-probabilities. A server that gives none is not judged.

    Raises:
        ServiceError: no answer, or the base's to every digit.
    """
    expected = _next_token(url, base) if adapters else None
    for adapter in adapters if expected else ():
        if _next_token(url, adapter) == expected:
            raise ServiceError(
                f"{url}: answers for {adapter!r} with the log-probabilities of {base!r}: it "
                "has not loaded the adapter, or one that does nothing; run kv-adapters verify, "
                "and restart it"
            )


def _next_token(url: str, model: str) -> dict[str, float] | None:
    """Return the likeliest tokens behind the probe with their log-probabilities in nats."""
    asked = {"model": model, "prompt": PROBE, "max_tokens": 1, "temperature": 0, "logprobs": 5}
    answer = _answer(f"{url}/v1/completions", json=asked)
    try:
        found: dict[str, float] = answer["choices"][0]["logprobs"]["top_logprobs"][0]
    except (KeyError, IndexError, TypeError):
        return None
    return found


def served_models(url: str) -> dict[str, int | None]:
    """Return the names of a server's models, each with its context in tokens where it says so.

    Raises:
        ServiceError: no answer, a refusal, or no list of models.
    """
    try:
        listed = _answer(f"{url}/v1/models")["data"]
        found: dict[str, int | None] = {m["id"]: m.get("max_model_len") for m in listed}
    except (KeyError, TypeError) as error:
        raise ServiceError(f"{url}/v1/models: no list of models ({error!r})") from error
    # vLLM states the context of the base alone; its adapters have the same.
    context = next((length for length in found.values() if length), None)
    return {name: length or context for name, length in found.items()}


def _answer(address: str, json: dict[str, Any] | None = None) -> Any:
    """Return what a server answers to a GET, or to a POST of ``json``.

    Raises:
        ServiceError: no answer, a refusal, or no JSON.
    """
    key = os.environ.get(KEY)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        method = "GET" if json is None else "POST"
        # Without the environment's proxies, which the harness's many requests at once do not ask
        # either; but with its certificates.
        answer = httpx.request(
            method, address, json=json, headers=headers, timeout=TIMEOUT, trust_env=False,
            verify=ssl.create_default_context(),
        )  # fmt: skip
        answer.raise_for_status()
        return answer.json()
    except httpx.HTTPStatusError as error:
        code = error.response.status_code
        hint = f"; set {KEY}" if code in (401, 403) else f": {error.response.text[:200]}"
        raise ServiceError(f"{address}: refuses, HTTP {code}{hint}") from error
    except httpx.HTTPError as error:
        raise ServiceError(f"{address}: no answer ({error}); is the server running?") from error
    except ValueError as error:
        raise ServiceError(f"{address}: answers no JSON ({error})") from error


open_backend = ServerBackend
