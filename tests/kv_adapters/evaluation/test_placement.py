"""Workers are spread over machines that can hold them, with cores of their own."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from kv_adapters.evaluation import placement
from kv_adapters.evaluation.models import Models
from kv_adapters.evaluation.placement import Share, handed_on, starter
from kv_adapters.evaluation.plan import Request
from kv_tasks.errors import UsageError


def node(name: str, cpus: float, gpus: float = 0, alive: bool = True) -> dict[str, Any]:
    return {"NodeID": name, "Alive": alive, "Resources": {"CPU": cpus, "GPU": gpus}}


def cluster(monkeypatch: pytest.MonkeyPatch, *nodes: dict[str, Any]) -> None:
    total = {kind: sum(n["Resources"][kind] for n in nodes) for kind in ("CPU", "GPU")}
    monkeypatch.setattr(ray, "nodes", lambda: list(nodes))
    monkeypatch.setattr(ray, "cluster_resources", lambda: total)


def asked(workers: int, **changes: Any) -> Request:
    return Request(base="b", adapters=(), tasks=(), out=Path("out"), workers=workers, **changes)


def test_workers_fill_machines_evenly_and_no_further_than_their_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster(monkeypatch, node("a", 1), node("b", 8), node("gone", 8, alive=False))
    places = placement._places("CPU", 1, 4)
    assert places == [(0, "a"), (0, "b"), (1, "b"), (2, "b")]


def test_the_gpus_of_one_model_are_those_of_one_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster(monkeypatch, *(node(name, 8, gpus=1) for name in "abcd"))
    with pytest.raises(
        UsageError,
        match=r"--workers 2: Ray has 4 GPUs on 4 machine\(s\), room for 0 workers of 2",
    ):
        starter(Models(Path("b"), "", None, {}), asked(2, tensor_parallel=2), among=2)
    starter(Models(Path("b"), "", None, {}), asked(4), among=4)


@pytest.mark.parametrize(
    ("number", "among", "expected"),
    [(0, 2, {3, 4}), (1, 2, {5, 6}), (1, 3, {4}), (5, 6, {4})],
)
def test_a_share_is_of_the_cores_that_its_own_machine_has(
    monkeypatch: pytest.MonkeyPatch, number: int, among: int, expected: set[int]
) -> None:
    taken: list[Any] = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 4, 5, 6})
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, cores: taken.append(set(cores)))
    Share(number, among).take()
    assert taken == [expected]


def test_ray_gets_to_see_no_key() -> None:
    shell = {
        "KV_TASKS_DATA": "/d", "HF_HOME": "/h", "HF_TOKEN": "t", "OPENAI_API_KEY": "k",
        "VLLM_HOST_IP": "10.0.0.1", "PATH": "/bin",
    }  # fmt: skip
    assert handed_on(shell) == (
        {"KV_TASKS_DATA": "/d", "HF_HOME": "/h"},
        {"HF_TOKEN": "t", "OPENAI_API_KEY": "k"},
    )


def test_workers_that_are_not_started_keep_no_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster(monkeypatch, node("ab" * 28, 8))
    started: list[Share] = []
    actor = SimpleNamespace(
        options=lambda **_: SimpleNamespace(remote=lambda *given: started.append(given[2]))
    )
    monkeypatch.setattr(placement.ray, "remote", lambda **_: lambda _: actor)
    start = starter(Models(Path("b"), "", None, {}), asked(8), among=2)
    for number in range(2):
        start(number)
    assert started == [Share(0, 2), Share(1, 2)]
