"""Ask one vLLM engine for what the live checks judge."""

import shutil
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from kv_adapters.checks.live import Readings, Served
from kv_adapters.engine_settings import engine_arguments, prepare_process
from kv_adapters.lora_request import lora_request
from kv_train.adapter import WEIGHTS

Prompts = Sequence[Sequence[int]]
# Of the next token's distribution: as many of the prompt's last tokens.
TOP = 20
# The next token is asked for this far before the end, where an adapter has much to say.
INSIDE = 12
SEED = 0


def start(base: Path, adapter: Path, prompts: Prompts, gpu_share: float | None = None) -> Any:
    """Start vLLM with room for one adapter, and return its ``LLM``.

    Args:
        base: folder of the base model.
        adapter: sound adapter folder.
        prompts: token ids.
        gpu_share: of a GPU that the engine may fill, None for its own default.

    Raises:
        MissingPackageError: vLLM is not installed, or not for this torch.
    """
    prepare_process()
    from vllm import LLM

    arguments = engine_arguments([adapter], max_length=max(map(len, prompts)) + 1, seed=SEED)
    if gpu_share is not None:
        arguments["gpu_memory_utilization"] = gpu_share
    return LLM(model=str(base), **arguments)


def stop(llm: Any) -> None:
    """End the engine's processes, which otherwise abort when this one exits."""
    llm.llm_engine.engine_core.shutdown()


def measure(llm: Any, adapter: Path, prompts: Prompts, scratch: Path) -> Served:
    """Ask an engine that has not seen the adapter.

    Args:
        llm: see :func:`start`.
        adapter: folder without pickles; it is copied, and only the copy is changed.
        prompts: token ids.
        scratch: folder for the copy.
    """
    copy = scratch / adapter.name
    # First, while the cache is empty: each of these is computed the same way, or read from
    # the cache of another, which is the fault looked for.
    shutil.copytree(adapter, copy)
    next_base = _next_scores(llm, prompts, None)
    next_adapter = _next_scores(llm, prompts, lora_request(copy))
    zero_b(copy / WEIGHTS)
    next_changed = _next_scores(llm, prompts, lora_request(copy))
    live, none = lora_request(adapter), [None] * len(prompts)
    twice = list(chain.from_iterable((ids, ids) for ids in prompts))
    return Served(
        base=_prompt_scores(llm, prompts, none),
        adapter=_prompt_scores(llm, prompts, [live] * len(prompts)),
        mixed_base=_prompt_scores(llm, twice, [None, live] * len(prompts))[::2],
        next_base=next_base,
        next_adapter=next_adapter,
        next_changed=next_changed,
    )


def zero_b(weights: Path) -> None:
    """Rewrite a safetensors file with every B matrix zero: an adapter that does nothing."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(weights)
    changed = {name: 0 * part if ".lora_B" in name else part for name, part in tensors.items()}
    draft = weights.with_suffix(".part")
    save_file(changed, draft)
    draft.replace(weights)


def _prompt_scores(llm: Any, prompts: Prompts, adapters: Sequence[Any]) -> Readings:
    """Return the log-probability of every prompt token but the first; the cache is not read."""
    outputs = _ask(llm, prompts, adapters, prompt_logprobs=0)
    return [
        np.array(
            [
                position[token].logprob
                for token, position in zip(
                    output.prompt_token_ids[1:], output.prompt_logprobs[1:], strict=True
                )
            ]
        )
        for output in outputs
    ]


def _next_scores(llm: Any, prompts: Prompts, adapter: Any) -> Readings:
    """Return the log-probabilities of some tokens within the answer; the cache is read."""
    readings = []
    for ids in prompts:
        tokens = sorted(set(ids[-TOP:]))
        (output,) = _ask(llm, [ids[:-INSIDE]], [adapter], logprob_token_ids=tokens)
        scores = output.outputs[0].logprobs[0]
        readings.append(np.array([scores[token].logprob for token in tokens]))
    return readings


def _ask(llm: Any, prompts: Prompts, adapters: Sequence[Any], **wanted: Any) -> list[Any]:
    from vllm import SamplingParams

    outputs: list[Any] = llm.generate(
        [{"prompt_token_ids": list(ids)} for ids in prompts],
        SamplingParams(temperature=0.0, max_tokens=1, **wanted),
        lora_request=list(adapters),
        use_tqdm=False,
    )
    return outputs
