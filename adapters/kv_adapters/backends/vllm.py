"""vLLM: one engine holds the base model and all adapters.

Passes are never mixed: on a CPU, without :mod:`kv_adapters.cpu_lora`, tokens of the base model in
a batch with adapter rows would get the weights of the last adapter slot.
"""

import os
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from kv_adapters.backends import Settings
from kv_adapters.chat_template import templated
from kv_adapters.engine_settings import (
    CPU_WHEEL,
    distribution,
    engine_arguments,
    gpu,
    prepare_process,
)
from kv_adapters.evaluation.answers import PART_ON_GPU, recorded
from kv_adapters.evaluation.usage import prefix_ordered
from kv_adapters.lora_request import lora_request


class VllmBackend:
    """See :class:`kv_adapters.backends.Backend`."""

    def __init__(self, settings: Settings) -> None:
        """Start the engine; on a CPU this takes half a minute."""
        prepare_process()
        part = PART_ON_GPU if gpu() else None
        harness_class = templated(_harness_class(), settings.chat_template_args)
        harness_lm = recorded(prefix_ordered(harness_class), part=part)
        self._settings = settings
        self._arguments: dict[str, Any] = {
            "pretrained": str(settings.base),
            "tensor_parallel_size": settings.tensor_parallel,
            **engine_arguments(
                settings.adapters, max_length=settings.max_length, seed=settings.seed
            ),
        }
        if settings.gpu_memory_utilization is not None:
            self._arguments["gpu_memory_utilization"] = settings.gpu_memory_utilization
        self._arguments |= settings.vllm_args
        self.lm = harness_lm(**self._arguments)
        if os.environ.get("TQDM_DISABLE"):
            self.lm.model.generate = _without_bar(self.lm.model.generate)

    def select(self, adapter: Path | None) -> None:
        """Answer with this adapter from now on; None is the base model."""
        self.lm.lora_request = lora_request(adapter) if adapter else None

    def describe(self) -> dict[str, Any]:
        """Return the engine's arguments and vLLM's version."""
        version = metadata.version(distribution())
        return {**self._arguments, "backend": f"{distribution()} {version}"}


open_backend = VllmBackend


def _without_bar(generate: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``generate`` with its progress bar off.

    Where TQDM_DISABLE is set, vLLM would divide by the seconds that its bar has counted, and a
    bar that is turned off counts none.
    """

    def silent(*arguments: Any, **options: Any) -> Any:
        return generate(*arguments, **options | {"use_tqdm": False})

    return silent


def _harness_class() -> type[Any]:
    """Import the harness's vLLM model class.

    It asks for the version of a distribution named ``vllm``, which does not exist where the
    CPU wheel is installed; while it imports, that name leads to the CPU wheel.
    """
    real, installed = metadata.version, distribution()

    def version(distribution_name: str) -> str:
        if distribution_name != "vllm" or installed == "vllm":
            return real(distribution_name)
        # vLLM itself, asked while it imports, knows its CPU build by this suffix.
        return f"{real(CPU_WHEEL)}+cpu"

    metadata.version = version
    try:
        from lm_eval.models.vllm_causallms import VLLM
    finally:
        metadata.version = real
    harness_class: type[Any] = VLLM
    return harness_class
