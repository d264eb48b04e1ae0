"""Several GPUs or machines: Ray workers that each keep one engine for life.

Units, each one model on one task, go to whichever worker is free. A worker holds the base
model and all adapters, so nothing is loaded twice in it; several GPUs can share one model
(tensor parallelism), which is vLLM's own affair inside a worker. Workers write into one
folder: across machines it has to be shared.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from kv_adapters.evaluation.models import Models
from kv_adapters.evaluation.placement import starter
from kv_adapters.evaluation.plan import Request, Unit
from kv_adapters.evaluation.worker import Outcome
from kv_tasks import console
from kv_tasks.errors import RunError

# Seconds after which a wait is explained.
PATIENCE = 60
# Where Ray puts what its workers write; the reason for which vLLM does not start stands there.
LOGS = "/tmp/ray/session_latest/logs"


def run_fleet(units: Sequence[Unit], models: Models, request: Request) -> dict[Unit, Outcome]:
    """Run units on ``request.workers`` Ray workers; one that dies loses its unit, and is replaced.

    A running cluster is joined (RAY_ADDRESS); else Ray starts on this machine.

    Raises:
        UsageError: the cluster has no room for so many workers.
        RunError: a worker cannot load what it needs.
    """
    # A worker of another machine has another working folder.
    tasks = request.include_path and request.include_path.resolve()
    request = replace(request, out=request.out.resolve(), include_path=tasks)
    if len(units) < request.workers:
        console.warn(
            f"{len(units)} units, each a model on one task or group, for {request.workers} "
            "workers: the others have nothing to do; name the members of a group one by one, or "
            "let --tensor-parallel GPUs share a model"
        )
    with _cluster():
        among = min(request.workers, len(units))
        start = starter(models, request, among=among)
        workers = {number: start(number) for number in range(among)}
        try:
            _wait_for([worker.ready.remote() for worker in workers.values()])
        except RayError as error:
            raise RunError(
                f"--workers {request.workers}: {_reason(error)}; all that a worker wrote lies on "
                f"its machine in {LOGS}"
            ) from error
        return _hand_out(units, workers, start, request.out)


def _wait_for(starting: Sequence[Any]) -> None:
    """Return when all workers are ready; raise as soon as one cannot be."""
    waiting = list(starting)
    while waiting:
        ready, waiting = ray.wait(waiting, timeout=PATIENCE)
        ray.get(ready)
        if waiting and not ready:
            console.note(
                f"{len(starting) - len(waiting)} of {len(starting)} workers are ready; the others "
                "load, or wait for room in the cluster (ray status)"
            )


def _hand_out(
    units: Sequence[Unit], workers: Mapping[int, Any], start: Callable[[int], Any], out: Path
) -> dict[Unit, Outcome]:
    """Give every unit to a worker that is free, and start another in the place of one that died.

    The other gets its first unit when it is ready: where a machine was lost, there may be no
    room for it, and the workers that are left finish alone.
    """
    waiting, made = list(units), dict[Unit, Outcome]()
    idle = list(workers.items())
    busy: dict[Any, tuple[int, Any, Unit]] = {}
    starting: dict[Any, tuple[int, Any]] = {}
    while waiting or busy:
        while waiting and idle:
            number, worker = idle.pop(0)
            unit = waiting.pop(0)
            busy[worker.run.remote(unit)] = number, worker, unit
        if not busy and not starting:
            made |= {unit: _failed(unit, "no worker is left") for unit in waiting}
            break
        if not busy:
            console.note("no worker is left; waiting for the cluster to have room for one")
        ready, _ = ray.wait([*busy, *starting], num_returns=1, timeout=PATIENCE)
        if not ready and not busy:
            continue
        if not ready:
            answers = sum(_answers(unit.journal(out)) for _, _, unit in busy.values())
            console.note(f"{len(busy)} units are running; {answers} of their answers are written")
            continue
        (done,) = ready
        if done in starting:
            number, worker = starting.pop(done)
            try:
                ray.get(done)
            except RayError as error:
                console.warn(f"worker {number}: not started again: {_reason(error)}")
            else:
                idle.append((number, worker))
            continue
        number, worker, unit = busy.pop(done)
        try:
            made[unit] = ray.get(done)
            idle.append((number, worker))
        except RayError as error:
            made[unit] = _failed(unit, f"worker {number} died: {_reason(error)}")
            if waiting:
                other = start(number)
                starting[other.ready.remote()] = number, other
        console.note(f"{len(made)} of {len(units)} units finished")
    return made


def _answers(journal: Path) -> int:
    """Return how many answers a running unit has written down."""
    try:
        with journal.open("rb") as lines:
            return sum(1 for _ in lines)
    except OSError:
        # Not yet, or no longer; a network's file system has more names for that.
        return 0


def _failed(unit: Unit, reason: str) -> Outcome:
    console.warn(f"{unit.label} · {unit.task}: failed: {reason}")
    return Outcome(unit.label, unit.task, "failed", reason=reason)


def _reason(error: RayError) -> str:
    """Return the line of Ray's page that says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # A traceback ends with the exception; what Ray itself saw comes first.
    return lines[-1] if any(line.startswith("File ") for line in lines) else lines[0]


@contextmanager
def _cluster() -> Iterator[None]:
    # Of a Ray that starts here. Its own 15 leaves a worker the thirtieth part of a core that
    # anything else uses: on a busy machine none ever gets ready.
    os.environ.setdefault("RAY_worker_niceness", "0")
    on_term = signal.getsignal(signal.SIGTERM)
    address = os.environ.get("RAY_ADDRESS")
    try:
        ray.init(address=address, log_to_driver=False, include_dashboard=False)
    except ConnectionError as error:
        raise RunError(
            f"RAY_ADDRESS={address}: no Ray cluster answers ({error}); start one (ray start), "
            "give its token (RAY_AUTH_MODE=token), or unset the variable to use this machine alone"
        ) from error
    # Ray's own handler would end the command without a word, and with 15.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_term or signal.SIG_DFL)
    try:
        yield
    finally:
        ray.shutdown()
