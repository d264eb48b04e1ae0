"""The OpenAI API, or another chat service that speaks it: tasks that generate.

Models have names and no weights here: the base is a model's name, an adapter the folder of a
fine-tuning job, whose ``job.json`` names the model that it made. Log-likelihood tasks fail by
name; ``kv_general_chat`` asks the same without. The service refuses a prompt that is too long.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from kv_adapters.backends import PATIENCE, Settings
from kv_adapters.evaluation.answers import recorded
from kv_tasks.errors import AdapterError, ServiceError, UsageError

CONCURRENT = 8
# Tries of one request, with 76 seconds of waiting in all: a limit a minute long is over by then.
TRIES = 12
# A service may answer these otherwise a moment later; any other refusal stays one.
PASSING = (408, 409, 429)
KEY = "OPENAI_API_KEY"
URL = "https://api.openai.com/v1"
# These reason before they answer, and take neither a temperature nor stop sequences.
REASONING = re.compile(r"(ft:)?(o\d|gpt-5)")
# Tokens that these may reason for, beside the answer's: the service counts both as one.
REASONING_TOKENS = 16_384


class OpenAIBackend:
    """See :class:`kv_adapters.backends.Backend`."""

    # There is no other way to ask: every prompt is a chat.
    chat_only = True

    def __init__(self, settings: Settings) -> None:
        """Prepare requests; nothing is asked yet."""
        if not os.environ.get(KEY):
            raise UsageError(f"--backend openai needs a key: set {KEY}")
        url = settings.url or os.environ.get("OPENAI_BASE_URL") or URL
        self._base = settings.base_name
        self._arguments: dict[str, Any] = {
            "base_url": f"{url.rstrip('/')}/chat/completions",
            "model": self._base,
            "num_concurrent": CONCURRENT,
            "seed": settings.seed,
        }
        # What is asked is paid for: no more of it is lost at a failure than was under way. How
        # often it is tried changes no answer, and so is no part of what describes them.
        harness_class = recorded(_chat_class(), refuses=False, part=CONCURRENT)
        self.lm = harness_class(**self._arguments, max_retries=TRIES, timeout=PATIENCE)

    def select(self, adapter: Path | None) -> None:
        """Ask this job's model from now on; None is the base model."""
        self.lm.model = fine_tuned_model(adapter) if adapter else self._base

    def describe(self) -> dict[str, Any]:
        """Return what is asked, and with what."""
        version = metadata.version("lm_eval")
        return {**self._arguments, "model": self.lm.model, "backend": f"openai, lm_eval {version}"}


def _chat_class() -> type[Any]:
    """Return the harness's class for chats, greedy for every model that can be.

    The harness takes any name with a 5 in it, gpt-3.5-turbo among them, for a reasoning model,
    whose temperature is 1 and whose answers nothing stops. It also asks again after any exception,
    and each answer is paid for: an error that stays one is handed on as an answer, then raised.
    """
    from aiohttp import ClientResponseError
    from lm_eval.models.openai_completions import LocalChatCompletion, OpenAIChatCompletion

    def payload(self: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
        if REASONING.match(self.model):
            asked = dict(OpenAIChatCompletion._create_payload(self, *arguments, **options))
            asked["max_completion_tokens"] += REASONING_TOKENS
            return asked
        asked = dict(LocalChatCompletion._create_payload(self, *arguments, **options))
        asked["max_completion_tokens"] = asked.pop("max_tokens")
        # The service refuses an empty list.
        return {key: value for key, value in asked.items() if key != "stop" or value}

    def parse(self: Any, outputs: Any, **options: Any) -> list[str]:
        for output in outputs if isinstance(outputs, list) else [outputs]:
            _refuse_unanswered(output, self.model)
        return list(OpenAIChatCompletion.parse_generations(self, outputs, **options))

    async def call(self: Any, *arguments: Any, **options: Any) -> list[Any]:
        try:
            return list(await OpenAIChatCompletion.amodel_call(self, *arguments, **options))
        except ServiceError as error:
            return [error]
        except ClientResponseError as error:
            if error.status in PASSING or error.status >= 500:
                raise
            return [error]

    def generate(self: Any, *arguments: Any, **options: Any) -> list[str]:
        answers = OpenAIChatCompletion.generate_until(self, *arguments, **options)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return list(answers)

    methods = {
        "_create_payload": payload,
        "parse_generations": parse,
        "amodel_call": call,
        "generate_until": generate,
    }
    return type(OpenAIChatCompletion.__name__, (OpenAIChatCompletion,), methods)


def _refuse_unanswered(output: Mapping[str, Any], model: str) -> None:
    """Refuse an answer that was cut before its first word: it is not a wrong one.

    Raises:
        ServiceError: the model spent all its tokens on reasoning.
    """
    for choice in output.get("choices", ()):
        if choice.get("finish_reason") == "length" and not choice["message"].get("content"):
            raise ServiceError(
                f"{model}: reasoned for all of its tokens, {REASONING_TOKENS:,} and the task's "
                "own, and answered nothing; evaluate a model that answers sooner"
            )


def fine_tuned_model(job: Path) -> str:
    """Return the name of the model that a fine-tuning job made.

    Raises:
        AdapterError: the folder holds no finished job.
    """
    file = job / "job.json"
    try:
        name = json.loads(file.read_text(encoding="utf-8"))["fine_tuned_model"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AdapterError(
            f"{file}: no record of a fine-tuning job ({error!r}); give a folder of kv-train openai"
        ) from error
    if not name:
        raise AdapterError(f"{file}: the job made no model yet; follow it with kv-train openai")
    return str(name)


def checksum(name: str) -> str:
    """Return what identifies a model that is known by name alone."""
    return hashlib.sha256(f"openai:{name}".encode()).hexdigest()


open_backend = OpenAIBackend
