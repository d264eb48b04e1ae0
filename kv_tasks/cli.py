"""``kv-tasks``: register the tasks with the harness, and write training data."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from kv_tasks import console
from kv_tasks.errors import UsageError
from kv_tasks.paths import task_configs
from kv_tasks.registration import Status
from kv_tasks.registration import register as register_tasks
from kv_tasks.registration import status as registration_status
from kv_tasks.registration import unregister as unregister_tasks

app = console.program("Long-context tasks for lm-evaluation-harness.")


@app.command()
def register() -> None:
    """Copy the task YAML into the installed harness: `lm_eval --tasks mdqa_pos` then works."""
    _print(register_tasks())
    console.note("registered; run `kv-tasks register` again after every upgrade")


@app.command()
def unregister() -> None:
    """Remove the copy that `register` made."""
    removed = unregister_tasks()
    if removed is None:
        console.note("nothing is registered")
    else:
        _print(removed)
        console.note("removed")


@app.command()
def path() -> None:
    """Print the folder of the task YAML, for `lm_eval --include_path "$(kv-tasks path)"`."""
    _print(task_configs())
    found = registration_status()
    if found.state == "stale":
        console.warn(_describe(found))


@app.command()
def status() -> None:
    """Say whether the tasks are registered, and whether the copy is current."""
    _print(_describe(registration_status()))


@app.command()
def data(
    out: Annotated[Path, typer.Option(help="JSON lines file to write.")],
    kind: Annotated[Literal["simple"], typer.Option(help="The generator.")] = "simple",
    samples: Annotated[int, typer.Option(min=1, help="Number of prompts.")] = 350,
    dictionaries: Annotated[int, typer.Option(min=1, help="Lines of each haystack.")] = 85,
    questions_per_context: Annotated[
        int, typer.Option(min=1, help="Prompts that share a haystack.")
    ] = 1,
    template: Annotated[bool, typer.Option(help="Show the answer template.")] = True,
    seed: Annotated[int, typer.Option(help="Of the training stream.")] = 0,
) -> None:
    """Write training prompts as chat messages, one JSON object a line."""
    from kv_tasks.dictionaries import contexts, training_rows
    from kv_tasks.files import write_jsonl

    if samples % questions_per_context:
        raise UsageError(
            f"--samples {samples}: no multiple of --questions-per-context {questions_per_context}"
        )
    made = contexts(
        split="train",
        seed=seed,
        count=samples // questions_per_context,
        dictionaries=dictionaries,
        questions=questions_per_context,
    )
    rows = (row for context in made for row in training_rows(context, template=template))
    count = write_jsonl(out, rows)
    console.note(f"{count} prompts of kind {kind}")
    _print(out)


def _describe(found: Status) -> str:
    line = f"{found.state}: {found.folder}"
    if found.state == "stale":
        return f"{line} is of {found.found}, installed is {found.expected}; run `kv-tasks register`"
    return f"{line} {found.found}" if found.found else line


def _print(line: object) -> None:
    console.out.print(str(line), markup=False)


def main() -> None:
    """Entry point of the ``kv-tasks`` command."""
    console.run(app)
