"""One live line on standard error while a model trains."""

import time
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from kv_tasks import console
from kv_train.held_out import other_kinds


class ProgressLine(TrainerCallback):  # type: ignore[misc]
    """Step, loss, learning rate, tokens a second, held-out accuracy and time left."""

    def __init__(self, tokens_per_step: float) -> None:
        self._tokens_per_step = tokens_per_step
        self._spent = 0.0
        self._since = 0.0
        self._steps = 0
        self._detail = self._accuracy = ""
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} steps {task.fields[detail]}"),
            TimeRemainingColumn(),
            console=console.err,
        )

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Show the bar."""
        self._task = self._bar.add_task("", total=state.max_steps, detail="")
        self._bar.start()

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Start the clock of a step: evaluations and checkpoints are no training time."""
        self._since = time.monotonic()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Stop the clock."""
        self._spent += time.monotonic() - self._since
        self._steps += 1

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Move the bar on; where nobody watches, print a line now and then instead."""
        if not logs or not state.is_world_process_zero:
            return
        if "eval_exact_match" in logs:
            others = [f", {k} {logs[f'eval_exact_match_{k}']:.2f}" for k in other_kinds(logs)]
            self._accuracy = f" held-out exact {logs['eval_exact_match']:.2f}{''.join(others)}"
            console.note(f"step {state.global_step}/{state.max_steps}{self._accuracy}")
            self._bar.update(self._task, detail=self._detail + self._accuracy)
        if "loss" not in logs:
            return
        speed = self._steps * self._tokens_per_step / max(1e-9, self._spent)
        self._detail = (
            f"loss {logs['loss']:.3f} rate {logs['learning_rate']:.1e} {speed:,.0f} tokens/s"
        )
        step, shown = state.global_step, self._detail + self._accuracy
        self._bar.update(self._task, completed=step, detail=shown)
        if not console.err.is_terminal and step % max(1, state.max_steps // 10) == 0:
            console.note(f"step {step}/{state.max_steps} {self._detail}")

    def stop(self) -> None:
        """Leave the bar on the screen as it is, and give the terminal its cursor back."""
        self._bar.stop()
