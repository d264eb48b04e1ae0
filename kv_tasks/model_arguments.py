"""What a task can know of the model: the harness merges the model's arguments into metadata."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args

from kv_tasks.errors import UsageError

TooLong = Literal["error", "skip"]

# lm_eval.models.api_models cuts at 2,048 tokens less one unless told otherwise.
_COMPLETIONS_DEFAULT = 2048
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
    """

    tokenizer: str | None
    named: bool
    limit: int | None
    raised_by: str
    too_long: TooLong

    @classmethod
    def of(cls, metadata: Mapping[str, Any]) -> "ModelArguments":
        """Read them from a task's metadata.

        Raises:
            UsageError: when ``too_long`` is neither error nor skip.
        """
        too_long = metadata.get("too_long", "error")
        if too_long not in get_args(TooLong):
            raise UsageError(f"metadata too_long: {too_long!r}; choose error or skip")
        named = metadata.get("tokenizer")
        own = metadata.get("pretrained")
        tokenizer = named or (own if isinstance(own, str) else None)
        limit, raised_by = _limit(metadata)
        return cls(tokenizer, bool(named), limit, raised_by, too_long)


def _limit(metadata: Mapping[str, Any]) -> tuple[int | None, str]:
    for name in ("max_model_len", "max_length"):
        if metadata.get(name):
            cut = 1 if "base_url" in metadata else 0
            return int(metadata[name]) - cut, name
    if "base_url" in metadata and not str(metadata["base_url"]).endswith("/chat/completions"):
        return _COMPLETIONS_DEFAULT - 1, "max_length"
    if isinstance(metadata.get("pretrained"), str) and "gguf_file" not in metadata:
        return _configured(metadata["pretrained"]), "max_length"
    return None, "max_length"


@lru_cache(maxsize=8)
def _configured(model: str) -> int | None:
    """Return the context that a model's configuration states, None when there is none."""
    try:
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(model).get_text_config()
    except (ImportError, OSError, ValueError):
        # A model that cannot be found here fails by itself; one behind an interface needs none.
        return None
    found = (getattr(config, name, None) for name in _LIMITS)
    return next((int(value) for value in found if value), None)
