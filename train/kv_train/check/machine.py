"""What this machine and well-known GPUs can compute and hold."""

from dataclasses import dataclass
from typing import Any

import psutil
import torch

from kv_train.building import use_all_cores
from kv_train.check.probe import layer_speed
from kv_train.packing import Pack
from kv_train.recipe import Recipe

# The share of a published peak that trainings of models of some billion weights commonly reach.
PUBLISHED_SHARE = 0.4
# The rest of a memory goes to CUDA, fragmentation and buffers of the moment.
USABLE = 0.9


@dataclass(frozen=True)
class Gpu:
    """A GPU as its vendor describes it: dense peaks in TFLOP/s, memory in GB."""

    name: str
    memory: int
    bf16: float
    fp32: float


GPUS = (
    Gpu("A100", 80, bf16=312, fp32=19.5),
    Gpu("H100", 80, bf16=989, fp32=67),
    Gpu("H200", 141, bf16=989, fp32=67),
    Gpu("L40S", 48, bf16=362, fp32=91.6),
    Gpu("RTX 4090", 24, bf16=165, fp32=82.6),
)


@dataclass(frozen=True)
class Place:
    """Where a training could run, and what to expect there.

    Attributes:
        name: of the GPU or machine.
        memory: there, in bytes.
        speed: expected of a training, in FLOP/s.
        seconds: of the whole training.
        fits: whether it needs no more than the usable part of the memory.
    """

    name: str
    memory: int
    speed: float
    seconds: float
    fits: bool


def this_machine(config: Any, recipe: Recipe, pack: Pack, *, flops: float, needed: int) -> Place:
    """Return this machine, timed for a second.

    Args:
        config: of the base model.
        recipe: as it would run here.
        pack: one of those to train on.
        flops: of the whole training.
        needed: bytes at its peak.
    """
    name, memory = _this_machine()
    return _place(name, memory, layer_speed(config, recipe, pack), flops, needed)


def gpus(precision: str, *, flops: float, needed: int) -> tuple[Place, ...]:
    """Return the known GPUs; arguments as for :func:`this_machine`, in this ``precision``."""
    found = []
    for gpu in GPUS:
        peak = gpu.bf16 if precision == "bf16" else gpu.fp32
        speed = PUBLISHED_SHARE * peak * 1e12
        found.append(_place(gpu.name, gpu.memory * 10**9, speed, flops, needed))
    return tuple(found)


def _place(name: str, memory: int, speed: float, flops: float, needed: int) -> Place:
    return Place(name, memory, speed, flops / speed, needed <= USABLE * memory)


def _this_machine() -> tuple[str, int]:
    """Return a name and the memory that is free, in bytes; use as many cores as a training."""
    if torch.cuda.is_available():
        return f"here, {torch.cuda.get_device_name()}", torch.cuda.mem_get_info()[0]
    use_all_cores()
    return f"here, CPU, {torch.get_num_threads()} threads", psutil.virtual_memory().available
