"""Prompts to ask live, and what transformers and PEFT make of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kv_adapters.checks.live import Readings, Reference
from kv_adapters.engine_settings import cpu_dtype, gpu
from kv_tasks.dictionaries import contexts
from kv_tasks.errors import ModelError
from kv_tasks.kv_simple import SIMPLE
from kv_tasks.tokens import load_tokenizer

# Dictionaries a prompt: about 150, 460 and 1,500 tokens.
SIZES = (1, 8, 32)
SEED = 0


def probes(base: Path) -> list[list[int]]:
    """Return the token ids of retrieval prompts of several lengths, each with its answer.

    Raises:
        ModelError: none fits into the model's context.
    """
    from transformers import AutoConfig

    tokenizer = load_tokenizer(str(base))
    limit = getattr(AutoConfig.from_pretrained(base), "max_position_embeddings", None)
    prompts = [tokenizer(_text(size))["input_ids"] for size in SIZES]
    # One token is generated behind each.
    fitting = [ids for ids in prompts if limit is None or len(ids) < limit]
    if not fitting:
        raise ModelError(f"{base}: a context of {limit} tokens holds no probe prompt")
    return fitting


def reference(base: Path, adapter: Path, prompts: Sequence[Sequence[int]]) -> Reference:
    """Return what transformers and PEFT compute, in the precision that vLLM serves."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    dtype = "auto" if gpu() else getattr(torch, cpu_dtype())
    model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype)
    if gpu():
        model = model.to("cuda")
    model = PeftModel.from_pretrained(model, adapter).eval()
    with model.disable_adapter():
        plain = _read(model, prompts)
    adapted = _read(model, prompts)
    del model
    if gpu():
        torch.cuda.empty_cache()
    return Reference(plain, adapted)


def _text(dictionaries: int) -> str:
    (context,) = contexts(SIMPLE, split="validation", seed=SEED, count=1, dictionaries=dictionaries)
    needle = context.needles[0]
    return f"{context.prompt(needle, template=True)}\n{needle.answer}"


def _read(model: Any, prompts: Sequence[Sequence[int]]) -> Readings:
    import torch

    readings: list[np.ndarray] = []
    with torch.inference_mode():
        for ids in prompts:
            tokens = torch.tensor([ids], device=model.device)
            scores = model(tokens, use_cache=False).logits[0, :-1].float().log_softmax(-1)
            taken = scores.gather(-1, tokens[0, 1:, None]).squeeze(-1)
            readings.append(taken.cpu().numpy().astype(np.float64))
    return readings
