"""A model's shapes, from its configuration alone: no weights are loaded, no memory is taken."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from kv_train.attention import NAME
from kv_train.recipe import Lora

# Kinds of layers whose tokens see what a pack's layout says, or no other token at all.
APART = ("full_attention", "sliding_attention", "moe", "mlp")


@dataclass(frozen=True)
class Architecture:
    """Shapes of a causal language model.

    Attributes:
        parameters: all weights; tied ones count once.
        linears: (out, in) of every linear layer but the output head, by full module name.
        vocabulary: outputs of the head.
        hidden: width of the residual stream.
        intermediate: width inside a feed-forward block.
        heads: of queries, in a layer.
        kv_heads: of keys and values, in a layer.
        head_dim: width of a head.
        norms: width of all that the norms of a layer read, on average; those of queries and keys
            read every head.
        windows: of each layer: the sliding window in tokens, None where a token sees all before.
        limit: most positions of a row, None where the model states none.
        switch: where longrope takes other frequencies for all that is computed together: once
            the longest row has more tokens than this. None without longrope.
        experts: whether tokens choose among weights, which the estimates here know nothing of.
        carrying: kinds of layers that carry a state or a convolution from token to token, of
            which the estimates here know nothing either.
    """

    parameters: int
    linears: Mapping[str, tuple[int, int]]
    vocabulary: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    norms: int
    windows: tuple[int | None, ...]
    limit: int | None
    switch: int | None
    experts: bool
    carrying: tuple[str, ...]

    def targeted(self, targets: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Return the linear layers that PEFT would adapt: those whose last name is a target."""
        return {
            name: shape
            for name, shape in self.linears.items()
            if name.rpartition(".")[2] in targets
        }

    def lora_parameters(self, lora: Lora) -> int:
        """Return the number of weights of an adapter: A (rank, in) and B (out, rank) each."""
        return sum(lora.rank * sum(shape) for shape in self.targeted(lora.targets).values())


def meta_model(config: Any) -> Any:
    """Return a model of a transformers config on the meta device: shapes without memory."""
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, attn_implementation=NAME)


def architecture(model: Any) -> Architecture:
    """Return the shapes of a transformers causal language model, see :func:`meta_model`."""
    config = model.config.get_text_config()
    head = model.get_output_embeddings()
    heads = config.num_attention_heads
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None) or ["sliding_attention"] * config.num_hidden_layers
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    head_dim = _head_dim(config) or config.hidden_size // heads
    return Architecture(
        parameters=sum(weight.numel() for weight in model.parameters()),
        linears={
            name: (module.out_features, module.in_features)
            for name, module in model.named_modules()
            if isinstance(module, torch.nn.Linear) and module is not head
        },
        vocabulary=config.vocab_size,
        hidden=config.hidden_size,
        intermediate=getattr(config, "intermediate_size", None) or 4 * config.hidden_size,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        norms=_norms(model, config.hidden_size, {"q": heads * head_dim, "k": kv_heads * head_dim})
        // len(kinds),
        windows=tuple(window if kind == "sliding_attention" else None for kind in kinds),
        limit=getattr(config, "max_position_embeddings", None),
        switch=_switch(config),
        experts=has_experts(model),
        carrying=carrying(model),
    )


def _norms(model: Any, hidden: int, widths: Mapping[str, int]) -> int:
    """Return the width of what all norms within layers read; ``widths`` of queries and keys."""
    inside = [name.rpartition(".")[2] for name, module in model.named_modules()
              if "Norm" in type(module).__name__ and re.search(r"\.\d+\.", name)]  # fmt: skip
    return sum(widths[last[0]] if re.match("[qk]_", last) else hidden for last in inside)


def _head_dim(config: Any) -> int | None:
    try:
        return getattr(config, "head_dim", None)
    except RuntimeError:
        # Widths of Gemma 4 differ by layer; the first layer's will do for an estimate.
        return int(config.per_layer_config[0].head_dim)


def ropes(config: Any) -> list[dict[str, Any]]:
    """Return what a text configuration says of rotary embeddings: of all, or by kind of layer."""
    rope = getattr(config, "rope_parameters", None) or {}
    return [rope, *(value for value in rope.values() if isinstance(value, dict))]


def _switch(config: Any) -> int | None:
    long = [rope for rope in ropes(config) if rope.get("rope_type") == "longrope"]
    return int(long[0]["original_max_position_embeddings"]) if long else None


def has_experts(model: Any) -> bool:
    """Say whether weights of several experts are stacked; a convolution's are 3-D as well."""
    return any(
        weight.dim() > 2
        for module in model.modules()
        if not isinstance(module, torch.nn.Conv1d)
        for weight in module.parameters(recurse=False)
    )


def kinds(model: Any) -> list[str]:
    """Return the kinds of layers that a model's configuration names, each once."""
    return sorted(set(getattr(model.config.get_text_config(), "layer_types", None) or ()))


def carrying(model: Any) -> tuple[str, ...]:
    """Return the kinds of layers that carry; some models name none and show a convolution."""
    named = tuple(kind for kind in kinds(model) if kind not in APART)
    convolves = any(isinstance(module, torch.nn.Conv1d) for module in model.modules())
    return named or (("convolution",) if convolves else ())
