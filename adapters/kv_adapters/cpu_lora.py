"""LoRA on vLLM's CPU backend, computed once a slot instead of gathered for every token.

vLLM 0.32's CPU kernels copy the adapter's matrices for each token before multiplying (400 MB
a slice at 4,096 tokens and rank 16), and rows of the base model, whose slot is -1, get the
last slot's adapter. Here the rows of each slot are multiplied with its matrices directly, and
rows of the base model get nothing. The answers are those of vLLM's kernels, 5.6 times sooner
(``benchmarks/cpu_lora.py``, SmolLM2-135M, rank 16 on attention, 2 cores).

vLLM loads this in every process of its own through the entry point ``vllm.general_plugins``;
it changes nothing on a GPU. ``VLLM_PLUGINS=""`` turns it off.
"""

import inspect
import logging
from typing import Any

import torch

logger = logging.getLogger(__name__)


def register() -> None:
    """Put the kernels below in place of vLLM's, where vLLM runs on a CPU.

    A vLLM whose kernels take other arguments keeps its own, with a warning.
    """
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return
    from vllm.lora.ops import torch_ops
    from vllm.lora.ops.torch_ops import lora_ops
    from vllm.lora.punica_wrapper import punica_cpu

    for kernel in (bgmv_shrink, bgmv_expand, bgmv_expand_slice):
        name = kernel.__name__
        theirs = getattr(lora_ops, name, None)
        if theirs is None or _arguments(theirs) != _arguments(kernel):
            logger.warning("vLLM's %s takes other arguments than it did: left as it is", name)
            continue
        for module in (lora_ops, torch_ops, punica_cpu):
            setattr(module, name, kernel)


def bgmv_shrink(
    inputs: torch.Tensor,
    lora_b_weights: torch.Tensor,
    output_tensor: torch.Tensor,
    lora_indices_tensor: torch.Tensor,
    scaling: float = 1.0,
) -> None:
    """Write ``scaling * inputs @ A.T`` (tokens, rank) into ``output_tensor``.

    Args:
        inputs: activations (tokens, in).
        lora_b_weights: all slots' A matrices (slots, [1,] rank, in); the name is vLLM's.
        output_tensor: written in place.
        lora_indices_tensor: slot of each token (tokens,), -1 for the base model.
        scaling: alpha / rank, already in the weights where vLLM says 1.
    """
    result = per_slot(inputs, lora_b_weights, lora_indices_tensor, output_tensor.dtype)
    output_tensor[:, : result.shape[1]] = scaling * result


def bgmv_expand(
    inputs: torch.Tensor,
    lora_b_weights: torch.Tensor,
    output_tensor: torch.Tensor,
    lora_indices_tensor: torch.Tensor,
    add_inputs: bool = True,
) -> None:
    """Add ``inputs @ B.T`` (tokens, out) to ``output_tensor``, or write it there."""
    width = min(lora_b_weights.shape[-2], output_tensor.shape[1])
    bgmv_expand_slice(
        inputs, lora_b_weights[..., :width, :], output_tensor, lora_indices_tensor, 0, width,
        add_inputs,
    )  # fmt: skip


def bgmv_expand_slice(
    inputs: torch.Tensor,
    lora_b_weights: torch.Tensor,
    output_tensor: torch.Tensor,
    lora_indices_tensor: torch.Tensor,
    slice_offset: int,
    slice_size: int,
    add_inputs: bool = True,
) -> None:
    """Do the same for columns ``slice_offset`` to ``slice_offset + slice_size``."""
    result = per_slot(inputs, lora_b_weights, lora_indices_tensor, output_tensor.dtype)
    target = output_tensor[: result.shape[0], slice_offset : slice_offset + slice_size]
    if add_inputs:
        target += result
    else:
        target.copy_(result)


def per_slot(
    inputs: torch.Tensor, weights: torch.Tensor, slots: torch.Tensor, dtype: torch.dtype
) -> torch.Tensor:
    """Multiply each row with the transposed matrix of its slot.

    Args:
        inputs: (rows, k).
        weights: (slots, [1,] n, k).
        slots: (rows,); negative rows give zeros.
        dtype: of the computation and the result.

    Returns:
        (rows, n).
    """
    if weights.dim() == 4:
        weights = weights.squeeze(1)
    inputs = inputs.to(dtype)
    present: list[int] = torch.unique(slots).tolist()
    if len(present) == 1 and present[0] >= 0:
        return inputs @ weights[present[0]].to(dtype).T
    result = inputs.new_zeros(inputs.shape[0], weights.shape[-2])
    for slot in present:
        if slot >= 0:
            rows = slots == slot
            result[rows] = inputs[rows] @ weights[slot].to(dtype).T
    return result


def _arguments(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)
