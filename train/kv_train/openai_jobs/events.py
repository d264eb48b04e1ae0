"""What a running fine-tuning job of the OpenAI API tells: notes, and a bar of its steps."""

import itertools
import re
from typing import Any

import openai
from openai.types.fine_tuning import FineTuningJobEvent
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from kv_tasks import console

_TOTAL = re.compile(r"Step \d+/(\d+)")


class Events:
    """The events of a job, each shown once: notes, and metrics in a bar.

    Without a terminal the latest metrics of each look are a note.

    Attributes:
        bar: a context manager, within which the steps are shown.
    """

    def __init__(self, client: openai.OpenAI, job_id: str) -> None:
        self._client = client
        self._job_id = job_id
        self._shown: set[str] = set()
        self.bar = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.fields[loss]}"),
            TimeElapsedColumn(),
            console=console.err,
            transient=True,
            disable=not console.err.is_terminal,
        )
        self._task = self.bar.add_task("", total=None, loss="")

    def show(self) -> None:
        """Fetch the events since the last call and show them."""
        events = self._client.fine_tuning.jobs.list_events(self._job_id, limit=100)
        # The newest comes first, on pages that are fetched as they are read.
        new = list(itertools.takewhile(lambda event: event.id not in self._shown, events))
        self._shown.update(event.id for event in new)
        metrics = [event for event in new if event.type == "metrics"]
        for event in reversed(new):
            if event.type != "metrics":
                (console.note if event.level == "info" else console.warn)(event.message)
        if metrics:
            self._advance(metrics[0])

    def _advance(self, event: FineTuningJobEvent) -> None:
        if not console.err.is_terminal:
            console.note(event.message)
            return
        data: dict[str, Any] = event.data if isinstance(event.data, dict) else {}
        total = _TOTAL.match(event.message)
        loss = data.get("train_loss")
        self.bar.update(
            self._task,
            completed=data.get("step", 0),
            total=int(total[1]) if total else data.get("total_steps"),
            loss="" if loss is None else f"loss {loss:.4f}",
        )
