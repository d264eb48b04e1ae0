"""One training in several processes: who writes, who waits, and what all must know.

``accelerate launch -m kv_train run RECIPE`` starts every process with the same command. The
main one writes files and tells the others what it found; they read what it wrote.
"""

import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from kv_tasks.errors import EXIT_ERROR, UsageError

T = TypeVar("T")
# The others wait while the main process downloads a model; the default is ten minutes.
PATIENCE = timedelta(hours=6)


class Processes:
    """The processes of this training; a single one without ``accelerate launch``."""

    def __init__(self) -> None:
        if _launched_alone(os.environ):
            raise UsageError(
                "accelerate launch: it was asked for several processes and started one, as it "
                "does on CPUs without mpirun; use: torchrun --nproc-per-node N -m kv_train ..."
            )
        self._state = PartialState(cpu=not torch.accelerator.is_available(), timeout=PATIENCE)

    @property
    def main(self) -> bool:
        """Whether this is the process that writes."""
        return bool(self._state.is_main_process)

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self._state.num_processes)

    def decide(self, question: Callable[[], T]) -> T:
        """Let the main process answer, with whatever files it has to write; tell the others.

        An exception ends the main process; the launcher then ends the others.
        """
        answers = [question() if self.main else None]
        if self.count > 1:
            try:
                broadcast_object_list(answers, from_process=0)
            except RuntimeError as error:
                if self.main:
                    raise
                # Gone, and said why: a traceback from each of the others would bury that.
                raise SystemExit(EXIT_ERROR) from error
        (answer,) = answers
        return answer  # type: ignore[return-value]

    def wait(self) -> None:
        """Go on when all processes are here."""
        self._state.wait_for_everyone()


def _launched_alone(environment: Mapping[str, str]) -> bool:
    """Say whether accelerate prepared several processes (an address to meet at) but no rank."""
    by_accelerate = "ACCELERATE_MIXED_PRECISION" in environment
    return by_accelerate and "MASTER_ADDR" in environment and "RANK" not in environment
