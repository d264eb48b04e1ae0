"""Where a cluster's workers run, on which cores, and what they know of the command's shell."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from kv_adapters.backends import TRAITS
from kv_adapters.evaluation.models import Models
from kv_adapters.evaluation.plan import Request
from kv_adapters.evaluation.worker import Worker
from kv_tasks.errors import UsageError

# Variables of the command's shell that decide what a worker finds: those of a cluster that was
# started before are that cluster's. Which of its addresses a machine uses is its own affair.
_HANDED_ON = ("KV_TASKS_", "HF_", "OPENAI_", "VLLM_")
_OF_A_MACHINE = ("VLLM_HOST_IP",)
_SECRET = ("_KEY", "_TOKEN")


@dataclass(frozen=True)
class Share:
    """The ``number``-th of ``among`` equal parts of a machine's cores."""

    number: int
    among: int

    def take(self) -> None:
        """Run this process on no other cores; with more parts than cores some share one."""
        cores = sorted(os.sched_getaffinity(0))
        each = max(1, len(cores) // self.among)
        first = self.number * each % len(cores)
        os.sched_setaffinity(0, cores[first : first + each])


class _Pinned(Worker):
    """A worker on its share of a machine's cores, on all of them where it has none."""

    def __init__(
        self,
        request: Request,
        models: Models,
        share: Share | None,
        secrets: Mapping[str, str],
    ) -> None:
        os.environ.update(secrets)
        if share:
            share.take()
        super().__init__(request, models)

    def ready(self) -> None:
        """Answer as soon as everything is loaded."""


def starter(models: Models, request: Request, *, among: int) -> Callable[[int], Any]:
    """Return a function that starts worker ``number`` of ``among`` as a Ray actor.

    Without GPUs the workers are spread over the machines, and each gets cores of its own.

    Raises:
        UsageError: the cluster has no room for so many workers.
    """
    computes = TRAITS[request.backend].packages
    gpus = request.tensor_parallel if computes and ray.cluster_resources().get("GPU") else 0
    if gpus:
        _places("GPU", gpus, request.workers)
    places = _places("CPU", 1, request.workers)
    variables, secrets = handed_on(os.environ)
    environment = {"env_vars": variables}
    actor = ray.remote(num_gpus=gpus, num_cpus=1, runtime_env=environment)(_Pinned)

    def start(number: int) -> Any:
        if gpus:
            return actor.remote(request, models, None, secrets)
        slot, node = places[number]
        share = Share(slot, sum(other == node for _, other in places[:among]))
        # Elsewhere, if that machine is lost.
        where = NodeAffinitySchedulingStrategy(node, soft=True)
        return actor.options(scheduling_strategy=where).remote(request, models, share, secrets)

    return start


def _places(kind: str, each: int, workers: int) -> list[tuple[int, str]]:
    """Return a place a worker: its number on its node, and the node; nodes fill up evenly.

    What one worker needs has to be on one node, as a model's GPUs are.
    """
    nodes = [node for node in ray.nodes() if node["Alive"]]
    places = sorted(
        (slot, node["NodeID"])
        for node in nodes
        for slot in range(int(node["Resources"].get(kind, 0) // each))
    )
    if len(places) < workers:
        count = sum(node["Resources"].get(kind, 0) for node in nodes)
        raise UsageError(
            f"--workers {workers}: Ray has {count:g} {kind}s on {len(nodes)} machine(s), room for "
            f"{len(places)} workers of {each}; ask for fewer"
        )
    return places[:workers]


def handed_on(shell: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the variables that workers get: those that Ray may show, and the secret ones."""
    names = [name for name in shell if name.startswith(_HANDED_ON) and name not in _OF_A_MACHINE]
    secret = [name for name in names if name.endswith(_SECRET)]
    variables = {name: shell[name] for name in names if name not in secret}
    return variables, {name: shell[name] for name in secret}
