"""Which models this trainer computes rightly: known from a configuration, before weights are read.

Two questions over one context pass through a model without weights, whose attention only notes
what it is asked for. What it is not asked for, such as a window that the model keeps in a mask of
its own, :mod:`kv_train.attention` would leave out.
"""

import inspect
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import AttentionInterface, AutoConfig, AutoModelForCausalLM

from kv_tasks.errors import ModelError, reason_of
from kv_train.architecture import (
    APART,
    Architecture,
    architecture,
    carrying,
    has_experts,
    kinds,
    ropes,
)
from kv_train.attention import Layout, shared_context_attention
from kv_train.packing import Collator, Pack

# Kinds that carry something from each token to the next, whatever the layout says: right for a
# row alone. Any other kind sees less than all before it, by a mask that our attention ignores.
_CARRYING = ("linear_attention", "conv", "hybrid")
_NAME = "kv_watched"
_OWN = "it has an attention of its own"


def unshared(model: Any) -> str | None:
    """Return why several questions of one pack would not be computed apart, None where they are.

    Args:
        model: see :func:`kv_train.architecture.meta_model`.
    """
    if found := carrying(model):
        return f"its {', '.join(found)} layers would carry one question of a pack into the next"
    return None


def renamed(shapes: Architecture, targets: Sequence[str], folder: Path) -> str | None:
    """Return why nobody would find an adapter's modules in its base's files, None where they would.

    transformers renames what it reads of some models, Qwen3.5 among them, and an adapter's tensors
    have its names; vLLM looks for those of the files.

    Args:
        shapes: of the model as transformers makes it.
        targets: last names of the linear layers that are trained.
        folder: of the model; without safetensors files nothing is known.
    """
    names: set[str] = set()
    for file in folder.glob("*.safetensors"):
        try:
            with safe_open(file, framework="pt") as tensors:
                names.update(tensors.keys())
        except SafetensorError:
            return None  # loading the model will say so
    missing = [name for name in shapes.targeted(targets) if f"{name}.weight" not in names]
    if not names or not missing:
        return None
    return (
        f"its files have no {missing[0]}.weight, as transformers calls it, and vLLM would serve "
        "the base model's answers in place of such an adapter's"
    )


def read_config(folder: Path) -> Any:
    """Return the transformers configuration of a model.

    Raises:
        ModelError: transformers does not know the model, or needs code that comes with it.
    """
    try:
        return AutoConfig.from_pretrained(folder)
    except Exception as error:
        # Whatever a configuration class of any architecture raises.
        raise ModelError(
            f"{folder / 'config.json'}: {reason_of(error, first_line=True)}; choose another model"
        ) from error


def refuse_untrainable(config: Any, name: str) -> None:
    """Refuse a model before its weights are read.

    Raises:
        ModelError: as :func:`refusal`, naming the model.
    """
    if reason := refusal(config):
        raise ModelError(f"{name}: {reason}; choose another model")


def refusal(config: Any) -> str | None:
    """Return why the trainer cannot compute a model as it is meant, None where it can.

    Args:
        config: of a transformers model.
    """
    if getattr(config, "quantization_config", None):
        return "its weights are quantized, and only whole ones are trained on"
    try:
        model = _watched_model(config)
        return _by_kind(model) or _by_trial(model)
    except Exception as error:  # noqa: BLE001 - any code of any architecture
        if error.args == (_NAME,):
            # Architectures with an attention of their own look ours up in vain.
            return _OWN
        return f"it could not be tried ({type(error).__name__}: {reason_of(error)})"


@dataclass
class _Watch:
    """A layout that notes what attention is asked for beside it."""

    layout: Layout
    calls: int = 0
    masked: bool = False
    windows: set[int | None] = field(default_factory=set)


def _watched(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    layout: _Watch,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    layout.calls += 1
    layout.masked |= attention_mask is not None
    layout.windows.add(kwargs.get("sliding_window"))
    return shared_context_attention(
        module, query, key, value, attention_mask, layout=layout.layout, **kwargs
    )


AttentionInterface.register(_NAME, _watched)


def _watched_model(config: Any) -> Any:
    """Return a model on the meta device, where nothing may depend on a value."""
    config = deepcopy(config)
    for rope in ropes(config.get_text_config()):
        if rope.get("rope_type") in ("longrope", "dynamic"):
            rope["rope_type"] = "default"  # those look at how far positions reach
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(
            config, attn_implementation=_NAME, experts_implementation="batched_mm"
        )


def _by_kind(model: Any) -> str | None:
    """Return what the model's own description rules out."""
    config = model.config.get_text_config()
    if config is not model.config:
        return "it reads more than text, and LoRA would also land on layers that no text reaches"
    if not getattr(config, "num_attention_heads", None):
        return "it has no attention"
    unknown = [kind for kind in kinds(model) if kind not in (*APART, *_CARRYING)]
    if unknown:
        return f"its {', '.join(unknown)} layers are not supported in training"
    return None


def _by_trial(model: Any) -> str | None:
    """Return what two questions over one context show."""
    if carrying(model):
        # Kernels of recurrent layers need values, which a model without weights does not have.
        return None
    if "position_ids" not in inspect.signature(type(model).forward).parameters:
        return "its forward takes no position_ids"
    tiny = Pack((1,) * 4, ((1, 1), (1, 1)), ((1, 1), (1, 1)), (None, None))
    batch = Collator(pad_token_id=0)([tiny])
    inputs = {name: batch[name].to("meta") for name in ("input_ids", "position_ids")}
    watch, kept = _Watch(batch["layout"]), torch.tensor([5, 7])
    try:
        with torch.no_grad():
            out = model(**inputs, layout=watch, logits_to_keep=kept, use_cache=False)
    except ModelError as error:
        return str(error)
    except Exception as error:
        said = str(error) if isinstance(error, TypeError) else ""
        if "layout" in said:
            return "its layers do not hand on to attention what the trainer passes"
        if "unexpected keyword" in said:
            return f"its forward does not take what the trainer passes ({said})"
        if has_experts(model) and not isinstance(error, KeyError):
            return None  # some choose by values
        raise
    if not watch.calls:
        return _OWN
    if watch.masked:
        return "it makes an attention mask of its own"
    shapes = architecture(model)
    left_out = {w for w in shapes.windows if w and w < (shapes.limit or w + 1)} - watch.windows
    if left_out:
        return f"its attention is not told of its sliding window of {min(left_out)} tokens"
    if out.logits.shape[1] != len(kept):
        return "its forward takes no logits_to_keep"
    return None
