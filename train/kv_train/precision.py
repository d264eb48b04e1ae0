"""bf16 where the processor multiplies it, fp32 where that would only be emulated.

On an x86-64 CPU with AVX2 and nothing newer, torch 2.13 multiplies bf16 matrices 87 times slower
than fp32 ones (1.3 against 110 GFLOP/s on two cores), and vLLM's CPU engine reads prompts
3.5 times slower.
"""

import os
from functools import cache
from pathlib import Path

import torch

from kv_tasks import console
from kv_train.recipe import Recipe

_DEVICE = Path("/dev/nvidia0")
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


@cache
def best_precision() -> str:
    """Return ``bf16`` or ``fp32``, whichever this machine's GPU or CPU computes faster."""
    if torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return "bf16" if native else "fp32"


def warn_of_idle_gpu() -> None:
    """Say that the CPU computes though there is a GPU, unless it was hidden on purpose."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    if _DEVICE.exists() and not torch.cuda.is_available() and not hidden:
        built = torch.version.cuda
        why = f"its driver is older than CUDA {built}" if built else "it is a build for CPUs"
        console.warn(
            f"torch {torch.__version__} cannot use this machine's GPU ({why}?): the CPU computes; "
            "if that is meant, set CUDA_VISIBLE_DEVICES= (empty)"
        )


def settled(recipe: Recipe, precision: str | None = None) -> Recipe:
    """Return the recipe with ``precision`` for ``auto``, or what it stands for on this machine."""
    if recipe.training.precision != "auto":
        return recipe
    found = precision or best_precision()
    training = recipe.training.model_copy(update={"precision": found})
    return recipe.model_copy(update={"training": training})


def emulated(recipe: Recipe) -> bool:
    """Say whether a recipe asks for bf16 in so many words where nothing multiplies it."""
    return recipe.training.precision == "bf16" and best_precision() == "fp32"


def warn_of_emulation(recipe: Recipe) -> None:
    """Say what it costs to train in bf16 here."""
    if emulated(recipe):
        console.note(
            "training.precision bf16: this processor only emulates it, many times slower than "
            "fp32; set it to auto or fp32"
        )
