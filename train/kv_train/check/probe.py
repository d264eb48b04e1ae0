"""How fast this machine trains a layer of a model, measured for a second.

A whole layer with its LoRA, forward and backward, on a pack of the recipe: a matrix multiplication
alone can be ten times as fast as what lies between two of them.
"""

import time
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from kv_train.architecture import architecture
from kv_train.attention import NAME
from kv_train.check.estimate import training_flops
from kv_train.packing import Collator, Pack
from kv_train.precision import DTYPES
from kv_train.recipe import Recipe
from kv_train.trainer import answer_loss

PROBE_SECONDS = 1.0
# Most weights of a layer times tokens: about a second on two slow cores, nothing for a GPU.
SIZE_ON_CPU = 2 * 10**10
VOCABULARY = 8


def layer_speed(config: Any, recipe: Recipe, pack: Pack) -> float:
    """Return the FLOP/s of training one layer here, counted as in :mod:`kv_train.check.estimate`.

    Args:
        config: of the base model.
        recipe: the recipe.
        pack: a usual one; a CPU gets it with a shorter context if the layer is large.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    bf16 = recipe.training.precision == "bf16"
    layer = _one_layer(config, recipe, device)
    shapes, model = architecture(layer), _with_lora(layer, recipe)
    weights = sum(out * into for out, into in shapes.linears.values())
    blank = _blank(pack, SIZE_ON_CPU // weights if device == "cpu" else len(pack))
    batch = {
        name: value.to(device) if isinstance(value, torch.Tensor) else value
        for name, value in Collator(pad_token_id=0)([blank]).items()
    }

    def learn() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            loss = answer_loss(model, batch, None)
        loss.backward()  # type: ignore[no-untyped-call]
        if device == "cuda":
            torch.cuda.synchronize()

    learn()
    return training_flops(shapes, recipe, [blank]).total / _seconds(learn)


def _one_layer(config: Any, recipe: Recipe, device: str) -> Any:
    """Return a model of one layer and next to no vocabulary; its weights are zeros."""
    config = deepcopy(config.get_text_config())
    config.num_hidden_layers, config.vocab_size = 1, VOCABULARY
    config.pad_token_id = config.bos_token_id = config.eos_token_id = None
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:1]
    dtype = DTYPES[recipe.training.precision]
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=NAME)
    # Drawing the weights of a large layer would take longer than training it.
    model.to_empty(device=device)
    for values in (*model.parameters(), *model.buffers()):
        values.data.zero_()
    return model


def _with_lora(model: Any, recipe: Recipe) -> Any:
    lora = LoraConfig(
        task_type="CAUSAL_LM", r=recipe.lora.rank, target_modules=list(recipe.lora.targets)
    )
    adapted = get_peft_model(model, lora)
    # All layers but the first pass gradients on to the one before; so shall this one.
    model.enable_input_require_grads()
    if recipe.training.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return adapted.train()


def _blank(pack: Pack, most: int) -> Pack:
    """Return a pack of the same form from one token, its context cut to have ``most`` tokens."""
    cut = min(len(pack.context), max(0, len(pack) - most))
    return Pack(
        context=(0,) * (len(pack.context) - cut),
        suffixes=tuple((0,) * len(suffix) for suffix in pack.suffixes),
        labels=tuple(tuple(min(label, 0) for label in labels) for labels in pack.labels),
        depths=pack.depths,
    )


def _seconds(action: Callable[[], None]) -> float:
    """Return what one ``action`` takes, repeated for a second."""
    begun, count = time.perf_counter(), 0
    while (passed := time.perf_counter() - begun) < PROBE_SECONDS or not count:
        action()
        count += 1
    return passed / count
