"""Two Ray workers give what one process gives, and one that dies loses only its unit."""

import json
import os
import re
import shlex
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
from ray.cluster_utils import Cluster

from kv_adapters.evaluation import fleet
from kv_adapters.evaluation.evaluate import evaluate
from kv_adapters.evaluation.plan import Request
from kv_tasks.errors import RunError, UsageError

TASKS = ["kv_simple_16dicts", "kv_simple_32dicts"]


@pytest.fixture(autouse=True)
def quiet_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_DEDUP_LOGS", "0")
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    monkeypatch.delenv("RAY_worker_niceness", raising=False)


def asked(base: Path, out: Path, *adapters: Path, **changes: Any) -> Request:
    settings: dict[str, Any] = {"tasks": TASKS, "limit": 2, "backend": "hf", **changes}
    return Request(base=str(base), adapters=adapters, out=out, **settings)


def results(out: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted(out.rglob("results_*.json"))]


def answers(out: Path) -> dict[str, list[Any]]:
    found = {}
    for file in out.rglob("samples_*.jsonl"):
        name = f"{file.parent.name}/{file.name.rsplit('_', 1)[0]}"
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        found[name] = [(row["doc_id"], row["prompt_hash"], row["resps"]) for row in rows]
    return found


def test_two_workers_give_what_one_process_gives(
    tiny_base: Path,
    tiny_adapter: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(fleet, "PATIENCE", 0.02)
    on_term = signal.getsignal(signal.SIGTERM)
    two = evaluate(asked(tiny_base, tmp_path / "two", tiny_adapter, workers=2))
    assert signal.getsignal(signal.SIGTERM) is on_term
    said = " ".join(capsys.readouterr().err.split())
    assert re.search(r"2 units are running; \d+ of their answers are written", said)
    one = evaluate(asked(tiny_base, tmp_path / "one", tiny_adapter))
    assert [(o.label, o.task, o.status) for o in two] == [(o.label, o.task, o.status) for o in one]
    assert {outcome.status for outcome in two} == {"done"}
    assert answers(tmp_path / "two") == answers(tmp_path / "one")
    processes = {result["kv_adapters"]["process"] for result in results(tmp_path / "two")}
    assert len(processes) == 2
    assert os.getpid() not in processes
    commands = {result["kv_adapters"]["command"] for result in results(tmp_path / "two")}
    assert commands == {shlex.join(sys.argv)}
    again = evaluate(asked(tiny_base, tmp_path / "two", tiny_adapter, workers=2))
    assert {outcome.status for outcome in again} == {"reused"}


def test_more_workers_than_there_is_room_for_are_refused(tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--workers 999: Ray has \d+ CPUs on 1 machine"):
        evaluate(asked(tiny_base, tmp_path, workers=999))


def test_a_worker_that_cannot_load_says_why(tiny_base: Path, tmp_path: Path) -> None:
    base = shutil.copytree(tiny_base, tmp_path / "cut")
    (weights,) = base.glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(RunError, match="--workers 2: .*(?i:safetensor).*/logs"):
        evaluate(asked(base, tmp_path / "out", workers=2))


def kill_a_worker_at_work(nice: list[int]) -> None:
    while True:
        for process in psutil.Process().children(recursive=True):
            try:
                if "_Pinned.run" in " ".join(process.cmdline()):
                    nice.append(process.nice())
                    process.kill()
                    return
            except psutil.Error:
                continue
        time.sleep(0.005)


def test_a_worker_that_dies_loses_its_unit_alone(tiny_base: Path, tmp_path: Path) -> None:
    nice: list[int] = []
    killer = threading.Thread(target=kill_a_worker_at_work, args=[nice], daemon=True)
    killer.start()
    outcomes = evaluate(asked(tiny_base, tmp_path, workers=2, limit=6))
    killer.join()
    # A worker waits for the machine's other work no longer than the command itself would.
    assert nice == [psutil.Process().nice()]
    assert sorted(outcome.status for outcome in outcomes) == ["done", "failed"]
    (failed,) = (outcome for outcome in outcomes if outcome.status == "failed")
    assert "died" in failed.reason
    assert len(results(tmp_path)) == 1


@pytest.mark.engine
def test_each_worker_keeps_a_vllm_engine_for_life(
    served_base: Path, served_adapter: Path, tmp_path: Path
) -> None:
    made = evaluate(asked(served_base, tmp_path, served_adapter, backend="vllm", workers=2))
    assert [outcome.reason for outcome in made] == [""] * 4
    processes = [result["kv_adapters"]["process"] for result in results(tmp_path)]
    # Who is free takes the next unit: two each, or three and one on a busy machine.
    assert len(processes) == 4
    assert len(set(processes)) == 2
    found = answers(tmp_path)
    for task in TASKS:
        base, adapted = (
            found[f"{label}/samples_{task}"] for label in ("base", served_adapter.name)
        )
        assert [row[:2] for row in base] == [row[:2] for row in adapted]
        assert [row[2] for row in base] != [row[2] for row in adapted]


@pytest.fixture
def two_machines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A Ray cluster of two nodes with room for one worker each; the second node."""
    monkeypatch.setenv("RAY_worker_niceness", "0")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    node = cluster.add_node(num_cpus=1)
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    yield node
    ray.shutdown()
    cluster.shutdown()


def everything_of(machine: Any) -> list[psutil.Process]:
    found = [psutil.Process(started.pid) for _, started in machine.live_processes()]
    return [*(child for process in found for child in process.children(recursive=True)), *found]


@pytest.mark.timeout(300)
def test_a_machine_that_is_lost_leaves_the_rest_to_the_others(
    tiny_base: Path, tiny_adapter: Path, tmp_path: Path, two_machines: Any
) -> None:
    """There is no room for the lost worker's successor, and nobody waits for it."""

    def lose() -> None:
        while not results(tmp_path):
            time.sleep(0.01)
        # Its workers too: orphans of a dead raylet may finish what they have.
        for process in everything_of(two_machines):
            process.kill()

    loser = threading.Thread(target=lose, daemon=True)
    loser.start()
    made = evaluate(
        asked(
            tiny_base,
            tmp_path,
            tiny_adapter,
            workers=2,
            tasks=[*TASKS, "flenqa_synth_250"],
            limit=6,
        )
    )
    loser.join()
    failed = [outcome for outcome in made if outcome.status == "failed"]
    assert len(made) == 6
    assert len(failed) == 1
    assert "died" in failed[0].reason
    # It may have been lost between writing and saying so.
    assert len(results(tmp_path)) >= 5
