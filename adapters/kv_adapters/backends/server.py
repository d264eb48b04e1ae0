"""A running OpenAI-compatible server, such as vLLM's: the models that it serves by name.

The harness's model for such servers cuts prompts at 2,047 tokens without a word unless it is
told otherwise; here the context is the one that the server states.
"""

import os
from importlib import metadata
from pathlib import Path
from typing import Any

import httpx

from kv_adapters.backends import Settings
from kv_adapters.evaluation.answers import recorded
from kv_tasks.errors import ServiceError, UsageError

# Requests on their way at once; the server batches them.
CONCURRENT = 16
KEY = "OPENAI_API_KEY"


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
        self._arguments: dict[str, Any] = {
            "base_url": f"{self._url}/v1/completions",
            "model": self._base,
            "tokenizer": str(settings.base),
            "tokenizer_backend": "huggingface",
            # The harness takes one token off, for an answer that it leaves room for elsewhere.
            "max_length": min(context, settings.max_length or context) + 1,
            "num_concurrent": CONCURRENT,
            "seed": settings.seed,
        }
        self.lm = recorded(_with_bos(LocalCompletionsAPI))(**self._arguments)
        for adapter in settings.adapters:
            self._check(adapter.name)

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


def _with_bos(harness_class: type[Any]) -> type[Any]:
    """Return the class with prompts encoded as hf and vllm models encode them.

    The harness's class adds no special tokens; a Llama or Mistral without its first token scores
    worse. A prompt that begins with it, as chat templates write it, does not get a second.
    """

    def tok_encode(
        self: Any,
        string: Any,
        left_truncate_len: int | None = None,
        add_special_tokens: bool | None = None,
        **options: Any,
    ) -> Any:
        if not isinstance(string, str):
            return [tok_encode(self, one, left_truncate_len, add_special_tokens) for one in string]
        if add_special_tokens is None:
            begun = self.tokenizer.bos_token and string.startswith(self.tokenizer.bos_token)
            add_special_tokens = not begun
        return harness_class.tok_encode(
            self, string, left_truncate_len, add_special_tokens, **options
        )

    return type(harness_class.__name__, (harness_class,), {"tok_encode": tok_encode})


def served_models(url: str) -> dict[str, int | None]:
    """Return the names of a server's models, each with its context in tokens where it says so.

    Raises:
        ServiceError: no answer, a refusal, or no list of models.
    """
    key = os.environ.get(KEY)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        answer = httpx.get(f"{url}/v1/models", headers=headers, timeout=30)
        answer.raise_for_status()
        listed = answer.json()["data"]
    except httpx.HTTPStatusError as error:
        hint = f"; set {KEY}" if error.response.status_code in (401, 403) else ""
        raise ServiceError(f"{url}: refuses, HTTP {error.response.status_code}{hint}") from error
    except httpx.HTTPError as error:
        raise ServiceError(f"{url}: no answer ({error}); is the server running?") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ServiceError(f"{url}/v1/models: no list of models ({error!r})") from error
    found: dict[str, int | None] = {model["id"]: model.get("max_model_len") for model in listed}
    # vLLM states the context of the base alone; its adapters have the same.
    context = next((length for length in found.values() if length), None)
    return {name: length or context for name, length in found.items()}


def open_backend(settings: Settings) -> ServerBackend:
    """Connect to the server."""
    return ServerBackend(settings)
