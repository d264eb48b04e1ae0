"""A model's shapes, from its configuration alone: no weights are loaded, no memory is taken."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from kv_tasks.errors import ModelError
from kv_train.attention import NAME
from kv_train.packing import Collator, Pack
from kv_train.recipe import Lora

# Kinds of layers whose tokens see what a pack's layout says, or no other token at all.
_APART = ("full_attention", "sliding_attention", "moe", "mlp")
# Kinds that carry something from each token to the next, whatever the layout says: right for a
# row alone. Any other kind sees less than all before it, by a mask that our attention ignores.
_CARRYING = ("linear_attention", "conv", "hybrid")


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
        windows: of each layer: the sliding window in tokens, None where a token sees all before.
        limit: most positions of a row, None where the model states none.
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
    windows: tuple[int | None, ...]
    limit: int | None
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
        kv_heads=getattr(config, "num_key_value_heads", None) or heads,
        head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
        windows=tuple(window if kind == "sliding_attention" else None for kind in kinds),
        limit=getattr(config, "max_position_embeddings", None),
        experts=_experts(model),
        carrying=_carrying(model),
    )


def _experts(model: Any) -> bool:
    """Say whether weights of several experts are stacked; a convolution's are 3-D as well."""
    return any(
        weight.dim() > 2
        for module in model.modules()
        if not isinstance(module, torch.nn.Conv1d)
        for weight in module.parameters(recurse=False)
    )


def _kinds(model: Any) -> list[str]:
    """Return the kinds of layers that a model's configuration names, each once."""
    return sorted(set(getattr(model.config.get_text_config(), "layer_types", None) or ()))


def _carrying(model: Any) -> tuple[str, ...]:
    """Return the kinds of layers that carry; some models name none and show a convolution."""
    named = tuple(kind for kind in _kinds(model) if kind not in _APART)
    convolves = any(isinstance(module, torch.nn.Conv1d) for module in model.modules())
    return named or (("convolution",) if convolves else ())


def unshared(model: Any) -> str | None:
    """Return why several questions of one pack would not be computed apart, None where they are.

    Args:
        model: see :func:`meta_model`.
    """
    if kinds := _carrying(model):
        return f"its {', '.join(kinds)} layers would carry one question of a pack into the next"
    return None


def refusal(model: Any) -> str | None:
    """Return why the trainer's attention cannot compute a model, None where nothing is known.

    Args:
        model: see :func:`meta_model`; two questions over one context are passed through it.
    """
    if model.config.get_text_config() is not model.config:
        return "it reads more than text, and LoRA would also land on layers that no text reaches"
    unknown = [kind for kind in _kinds(model) if kind not in (*_APART, *_CARRYING)]
    if unknown:
        return f"its {', '.join(unknown)} layers are not supported in training"
    if _experts(model) or _carrying(model):
        # Experts choose by values, which a model without weights does not have, and kernels of
        # recurrent layers need them.
        return None
    tiny = Pack((1,) * 4, ((1, 1), (1, 1)), ((1, 1), (1, 1)), (None, None))
    batch = Collator(pad_token_id=0)([tiny])
    inputs = {name: batch[name].to("meta") for name in ("input_ids", "position_ids")}
    try:
        with torch.no_grad():
            model(**inputs, layout=batch["layout"], logits_to_keep=1, use_cache=False)
    except ModelError as error:
        return str(error)
    except KeyError:
        # Architectures with an attention of their own look ours up in vain.
        return "it has an attention of its own"
    except TypeError as error:
        return f"its forward does not take what the trainer passes ({error})"
    return None
