"""Asking the OpenAI API: patience with what passes, one line for what does not."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import openai

from kv_tasks import console
from kv_tasks.errors import ServiceError, UsageError

T = TypeVar("T")

KEY = "OPENAI_API_KEY"
# So often a request is put before the service counts as out of reach: about six minutes.
ATTEMPTS = 8
_LONGEST_PAUSE = 60.0
# Of seconds without a byte; the client's own are ten minutes.
_TIMEOUT = openai.Timeout(120, connect=10)


def connect(kept: Path) -> openai.OpenAI:
    """Return the official client; OPENAI_BASE_URL chooses another service of the same API.

    Args:
        kept: the file that is written already, for the message.

    Raises:
        UsageError: no key, or one that cannot be sent.
    """
    key = os.environ.get(KEY, "")
    if not key:
        raise UsageError(f"{KEY} is not set: set it to your key and run again; {kept} is kept")
    # Without this check the client shows the whole key in its own message.
    if " " in key or not (key.isascii() and key.isprintable()):
        raise UsageError(
            f"{KEY} holds a blank, a line break or another character that no key has; set it "
            f"anew and run again; {kept} is kept"
        )
    # What may be repeated, and after which look, is known where it is asked, not to the client.
    return openai.OpenAI(timeout=_TIMEOUT, max_retries=0)


def ask(doing: str, request: Callable[[], T], *, pause: float) -> T:
    """Return the answer to a request, put again while the reason for its failure may pass.

    Args:
        doing: what is being done, for messages: "uploading the file".
        request: puts the request. It may have been carried out although it failed, so one
            that creates something has to look first.
        pause: seconds before the second attempt, twice as many before each further one, up
            to a minute; what the service asks for instead is honoured up to there.

    Raises:
        ServiceError: the service refused, or did not answer so many times.
    """
    attempt = 1
    while True:
        try:
            answer = request()
            # What the client makes of a web page, where it does not stumble over it.
            if isinstance(answer, str):
                raise ValueError("no JSON")
            return answer
        except openai.APIError as error:
            if attempt == ATTEMPTS or not _may_pass(error):
                raise ServiceError(f"{doing}: {_reason(error)}; {_mend(error)}") from error
            wait = min(_wished(error) or pause * 2 ** (attempt - 1), _LONGEST_PAUSE)
            console.note(f"{doing}: {_reason(error)}; again in {wait:.3g} s")
        except (AttributeError, ValueError) as error:
            raise ServiceError(
                f"{doing}: an answer that is none of the OpenAI API; check OPENAI_BASE_URL"
            ) from error
        time.sleep(wait)
        attempt += 1


def _may_pass(error: openai.APIError) -> bool:
    if error.code == "insufficient_quota":
        return False
    if isinstance(error, openai.APIStatusError):
        return error.status_code in (408, 409, 429) or error.status_code >= 500
    return isinstance(error, openai.APIConnectionError)


def _wished(error: openai.APIError) -> float | None:
    """Return the seconds that the service asks to wait, None where it does not say."""
    if not isinstance(error, openai.APIStatusError):
        return None
    try:
        seconds = float(error.response.headers.get("retry-after", ""))
    # No header, or a date.
    except ValueError:
        return None
    return seconds if seconds > 0 else None


def _reason(error: openai.APIError) -> str:
    if isinstance(error, openai.APIConnectionError):
        host = error.request.url.netloc.decode()
        return f"no answer from {host} ({error.__cause__ or error.message})"
    said = error.body.get("message") if isinstance(error.body, dict) else None
    status = f"HTTP {error.status_code}: " if isinstance(error, openai.APIStatusError) else ""
    return status + " ".join(str(said or error.message).split()).rstrip(".")


def _mend(error: openai.APIError) -> str:
    if isinstance(error, openai.APIConnectionError):
        return "check the network and OPENAI_BASE_URL; the same command goes on"
    if isinstance(error, openai.AuthenticationError):
        return f"check {KEY}"
    if isinstance(error, openai.PermissionDeniedError):
        return f"{KEY} must belong to a project that may fine-tune"
    if error.code == "insufficient_quota":
        return "add credit or raise the limit at the provider; the same command goes on"
    if error.code in ("model_not_found", "model_not_available") or error.param == "model":
        return "name a model that the provider fine-tunes as the recipe's 'model'"
    if isinstance(error, openai.NotFoundError):
        return "delete job.json if it was removed at the provider, to start anew"
    if _may_pass(error):
        return "wait, and the same command goes on"
    return "change the recipe as the message says"
