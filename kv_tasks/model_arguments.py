"""What a task can know of the model: the harness merges the model's arguments into metadata."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from kv_tasks.errors import KVError, UsageError
from kv_tasks.tokens import load_tokenizer

TooLong = Literal["error", "skip"]

# lm_eval.models.api_models cuts at 2,048 tokens less one unless told otherwise.
_COMPLETIONS_DEFAULT = 2048
# What its hf and vllm models take where neither configuration nor tokenizer states a length.
_UNSTATED = 2048
_INFINITE = 10**9
# How the harness's models name a context that the user states: vLLM, SGLang, all.
_STATED = ("max_model_len", "context_length", "max_length")
# In the order in which the harness's hf model asks a configuration.
_LIMITS = ("n_positions", "max_position_embeddings", "n_ctx")


@dataclass(frozen=True)
class ModelArguments:
    """The tokenizer and context of the model that a task will ask, as far as they are known.

    Attributes:
        tokenizer: folder or hub name, None where nobody said.
        named: whether the user named the tokenizer; the model's own may fail to load without
            harm, since the model will fail then too.
        limit: tokens that a prompt and its answer share, None where nobody said.
        raised_by: the model argument that raises the limit.
        too_long: what to do with a prompt that the harness would cut.
        revision: of model and tokenizer on the hub.
        trust_remote_code: whether the user lets code that comes with the model run.
        cuts: whether the harness cuts prompts; not those that it sends a server as text.
    """

    tokenizer: str | None
    named: bool
    limit: int | None
    raised_by: str
    too_long: TooLong
    revision: str | None = None
    trust_remote_code: bool = False
    cuts: bool = True

    @classmethod
    def of(cls, metadata: Mapping[str, Any]) -> "ModelArguments":
        """Read them from a task's metadata.

        Raises:
            UsageError: when ``too_long`` is neither error nor skip, or a context is no length.
        """
        too_long = metadata.get("too_long", "error")
        if too_long not in get_args(TooLong):
            raise UsageError(f"metadata too_long: {too_long!r}; choose error or skip")
        named = metadata.get("tokenizer")
        # A completions server's model is asked for by name; its tokenizer has the same.
        own = metadata.get("pretrained")
        if _completions(metadata):
            own = metadata.get("model") or own
        tokenizer = next((name for name in (named, own) if isinstance(name, str)), None)
        revision = metadata.get("revision")
        loading: dict[str, Any] = {
            "revision": revision if isinstance(revision, str) else None,
            "trust_remote_code": str(metadata.get("trust_remote_code")) in ("True", "true"),
        }
        limit, raised_by = _limit(metadata, tokenizer, loading)
        cuts = _cuts(metadata) or not _completions(metadata)
        known = (tokenizer, isinstance(named, str), limit, raised_by, too_long)
        return cls(*known, **loading, cuts=cuts)

    @property
    def loading(self) -> dict[str, Any]:
        """How the tokenizer is loaded: of the model's revision where it is the model's own."""
        revision = None if self.named else self.revision
        return {"revision": revision, "trust_remote_code": self.trust_remote_code}


def _completions(metadata: Mapping[str, Any]) -> bool:
    """Whether the model is a completions server, whose prompts the harness tokenizes and cuts."""
    url = str(metadata.get("base_url") or "")
    return bool(url) and not urlsplit(url).path.rstrip("/").endswith("/chat/completions")


def _limit(
    metadata: Mapping[str, Any], tokenizer: str | None, loading: Mapping[str, Any]
) -> tuple[int | None, str]:
    if _completions(metadata) and not _cuts(metadata):
        return None, "max_length"
    for name in _STATED:
        given = str(metadata.get(name) or "")
        if given.isdecimal():
            return int(given) - _completions(metadata), name
        if given and given != "None":
            raise UsageError(
                f"model argument {name}: {given!r} is no number of tokens, and the harness would "
                "count with it as one and cut prompts; leave it out for the model's own length"
            )
    if _completions(metadata):
        return _COMPLETIONS_DEFAULT - 1, "max_length"
    own = metadata.get("pretrained")
    if isinstance(own, str):
        packed = metadata.get("gguf_file")
        return _configured(own, tokenizer, packed, **loading), "max_length"
    return None, "max_length"


def _cuts(metadata: Mapping[str, Any]) -> bool:
    """Whether the harness sends a completions server tokens, which it cuts; texts it does not."""
    off = ("False", "false", "None", "none")
    settings = (metadata.get(name, True) for name in ("tokenized_requests", "tokenizer_backend"))
    return not any(str(setting) in off for setting in settings)


@lru_cache(maxsize=8)
def _configured(
    model: str,
    tokenizer: str | None,
    packed: str | None = None,
    *,
    revision: str | None,
    trust_remote_code: bool,
) -> int | None:
    """Return the context that the harness takes from a model's configuration.

    None when the configuration cannot be read: then the model will fail by itself.
    """
    try:
        from transformers import AutoConfig

        file = {} if packed is None else {"gguf_file": packed}
        config = AutoConfig.from_pretrained(
            model, revision=revision, trust_remote_code=trust_remote_code, **file
        ).get_text_config()
    except Exception:  # noqa: BLE001 - a damaged file can raise anything
        return None
    found = (getattr(config, name, None) for name in _LIMITS)
    stated = next((int(value) for value in found if value), None)
    if stated is not None or tokenizer is None:
        return stated
    try:
        loaded = load_tokenizer(tokenizer, revision=revision, trust_remote_code=trust_remote_code)
        length = int(loaded.model_max_length)
    except KVError:
        return _UNSTATED
    # Without a limit of its own a tokenizer states some 10 to the 30th.
    return length if length < _INFINITE else _UNSTATED
