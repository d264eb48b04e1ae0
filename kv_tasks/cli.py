"""``kv-tasks``: register the tasks with the harness, and write training data."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from kv_tasks import console
from kv_tasks.corpora import ASKED_BY_NQ_OPEN, TrainingCorpus
from kv_tasks.dictionaries import Placement
from kv_tasks.paths import task_configs
from kv_tasks.registration import Status
from kv_tasks.registration import register as register_tasks
from kv_tasks.registration import status as registration_status
from kv_tasks.registration import unregister as unregister_tasks
from kv_tasks.training_forms import Form

Out = Annotated[Path, typer.Option(help="JSON lines file to write.")]
Samples = Annotated[int, typer.Option(min=1, help="Number of questions.")]
Tokens = Annotated[int | None, typer.Option(min=1, help="Fill a window of tokens instead.")]
Shortest = Annotated[
    int | None, typer.Option(min=1, help="Draw each window from here to --tokens.")
]
Tokenizer = Annotated[
    str | None, typer.Option(help="Folder or hub name of the model, with --tokens.")
]
FormOption = Annotated[Form, typer.Option(help="Format of each line.")]

app = console.suite("Long-context tasks for lm-evaluation-harness.")


@app.command()
def register() -> None:
    """Copy the task YAML into the installed harness: `lm_eval --tasks mdqa_pos` then works."""
    console.result(register_tasks())
    console.note("registered; run `kv-tasks register` again after every upgrade")


@app.command()
def unregister() -> None:
    """Remove the copy that `register` made."""
    removed = unregister_tasks()
    if removed is None:
        console.note("nothing is registered")
    else:
        console.result(removed)
        console.note("removed")


@app.command()
def path() -> None:
    """Print the folder of the task YAML, for `lm_eval --include_path "$(kv-tasks path)"`."""
    console.result(task_configs())
    found = registration_status()
    if found.state == "stale":
        console.warn(_describe(found))


@app.command()
def status() -> None:
    """Say whether the tasks are registered, and whether the copy is current."""
    console.result(_describe(registration_status()))


@app.command()
def data(
    out: Out,
    kind: Annotated[
        Literal["simple", "multi-subkey", "multi-query"],
        typer.Option(help="What is asked for."),
    ] = "simple",
    samples: Samples = 350,
    dictionaries: Annotated[
        int | None, typer.Option(min=1, help="Lines of each haystack; the paper's by default.")
    ] = None,
    tokens: Tokens = None,
    shortest: Shortest = None,
    tokenizer: Tokenizer = None,
    questions_per_context: Annotated[
        int, typer.Option(min=1, help="Questions that share a haystack.")
    ] = 1,
    multi_turn: Annotated[
        bool, typer.Option("--multi-turn", help="Ask them in turns of one conversation.")
    ] = False,
    placement: Annotated[
        Placement,
        typer.Option(help="Of the gold dictionaries; even covers all depths equally."),
    ] = "paper",
    template: Annotated[bool, typer.Option(help="Show the answer template.")] = True,
    form: FormOption = "messages",
    seed: Annotated[int, typer.Option(help="Of the training stream.")] = 0,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; all cores by default.")
    ] = None,
) -> None:
    """Write training prompts, one JSON object a line."""
    from kv_tasks.files import check_out, write_jsonl
    from kv_tasks.training_data import Specification, rows

    check_out(out)
    made = Specification(
        kind=kind,
        samples=samples,
        seed=seed,
        dictionaries=dictionaries,
        tokens=tokens,
        shortest=shortest,
        tokenizer=tokenizer,
        questions_per_context=questions_per_context,
        placement=placement,
        template=template,
    )
    lines = rows(made, form=form, multi_turn=multi_turn, workers=workers)
    count = write_jsonl(
        out,
        console.progress(lines, total=made.contexts if multi_turn else samples, named="prompts"),
    )
    console.note(f"{count} lines of kind {kind}")
    console.result(out)


@app.command()
def mdqa_data(
    out: Out,
    samples: Samples = 350,
    documents: Annotated[int, typer.Option(min=1, help="In each prompt.")] = 20,
    questions_per_context: Annotated[
        int, typer.Option(min=1, help="Questions over the same documents.")
    ] = 1,
    corpus: Annotated[
        TrainingCorpus,
        typer.Option(help="Of questions that no task asks."),
    ] = "nq-open-training",
    form: FormOption = "messages",
    seed: Annotated[int, typer.Option(help="Of questions, positions and distractors.")] = 0,
) -> None:
    """Write training prompts of multi-document questions, the baseline of synthetic data."""
    from kv_tasks.files import check_out, write_jsonl
    from kv_tasks.training_mdqa import rows

    check_out(out)
    lines = rows(
        samples=samples,
        documents=documents,
        corpus=corpus,
        questions_per_context=questions_per_context,
        seed=seed,
        form=form,
    )
    console.note(f"{write_jsonl(out, lines)} lines of {corpus}")
    if corpus == ASKED_BY_NQ_OPEN:
        console.warn(
            f"{corpus}: the harness's nq_open asks these questions, too; its score says nothing "
            "of a model that is trained on them"
        )
    console.result(out)


@app.command()
def needle_data(
    out: Out,
    samples: Samples = 350,
    lines: Annotated[
        int | None, typer.Option(min=2, help="Of each haystack; about 4,000 tokens by default.")
    ] = None,
    tokens: Tokens = None,
    shortest: Shortest = None,
    tokenizer: Tokenizer = None,
    questions_per_context: Annotated[
        int, typer.Option(min=1, help="Needles in a haystack, each asked for.")
    ] = 1,
    text: Annotated[
        Path | None, typer.Option(help="Text file to hide them in; generated by default.")
    ] = None,
    form: FormOption = "messages",
    seed: Annotated[int, typer.Option(help="Of needles, depths and text.")] = 0,
) -> None:
    """Write training prompts of a needle in a haystack, a baseline of synthetic data."""
    from kv_tasks.files import check_out, write_jsonl
    from kv_tasks.training_needle import rows

    check_out(out)
    made = rows(
        samples=samples,
        tokens=tokens,
        tokenizer=tokenizer,
        shortest=shortest,
        lines=lines,
        questions_per_context=questions_per_context,
        text=text,
        seed=seed,
        form=form,
    )
    count = write_jsonl(out, console.progress(made, total=samples, named="prompts"))
    console.note(f"{count} lines of needles")
    console.result(out)


@app.command()
def upstream(
    family: Annotated[str, typer.Argument(help="mdqa_pos, kv_uuid, kv_simple or flenqa.")],
    out: Annotated[Path, typer.Option(help="Folder that gets a folder of the family's name.")],
) -> None:
    """Write a family as a folder for the harness's own tree, free of this package."""
    from kv_tasks.upstream import write

    console.result(write(family, out))


def _describe(found: Status) -> str:
    line = f"{found.state}: {found.folder}"
    if found.state == "stale":
        return f"{line} is of {found.found}, installed is {found.expected}; run `kv-tasks register`"
    return f"{line} {found.found}" if found.found else line


def main() -> None:
    """Entry point of the ``kv-tasks`` command."""
    console.run(app)
