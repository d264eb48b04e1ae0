"""``kv-train openai``: from a recipe to a fine-tuned model of the OpenAI API.

The folder gets ``train.jsonl``, ``recipe.yaml`` and, once something is sent, ``job.json``.
"""

import shlex
import sys
from pathlib import Path

from kv_tasks import console
from kv_tasks.errors import RunError, UsageError
from kv_tasks.files import write_text
from kv_train.adapter import RECIPE
from kv_train.alone import alone
from kv_train.openai_jobs.job import follow, start
from kv_train.openai_jobs.record import RECORD, Record, check, claim, identity, save
from kv_train.openai_jobs.rows import TrainingFile, training_file
from kv_train.openai_jobs.service import connect
from kv_train.recipe import Recipe
from kv_train.recipe_files import dump_recipe

FILE = "train.jsonl"
# What --overwrite would send, until it is confirmed.
DRAFT = "train.new.jsonl"


def fine_tune(
    recipe: Recipe,
    out: Path,
    *,
    dry_run: bool = False,
    yes: bool = False,
    overwrite: bool = False,
    interval: float = 20.0,
) -> str:
    """Fine-tune a model at the provider and return its name; a dry run returns the file's path.

    Args:
        recipe: with an ``openai`` section.
        out: folder of the training file and of the job's record.
        dry_run: write and check the file, and stop before anything is sent.
        yes: spend without asking.
        overwrite: start another job where the folder's job is over.
        interval: seconds from one look at the job to the next.

    Raises:
        RecipeError, DataError: the recipe makes no file that the service would take.
        RunError: the folder holds something else.
        UsageError: no key, or nobody said that money may be spent.
        ServiceError: the service refuses, is out of reach, or the job fails.
    """
    made = training_file(recipe)
    _refuse_others(out)
    fresh = Record(
        identity=identity(recipe, made.sha256),
        train_sha256=made.sha256,
        tokens=made.total,
        counted_by=made.counter.rule,
    )
    # Two commands that look for a job at once would both find none, and pay for one each.
    with alone(out):
        record = claim(out, fresh, overwrite=overwrite)
        # Another job's files stay beside its record until this one takes their place.
        replaces = overwrite and (out / RECORD).is_file()
        file = out / (DRAFT if replaces else FILE)
        write_text(file, made.text)
        if not replaces:
            write_text(out / RECIPE, dump_recipe(recipe))
        if not made.counter.exact:
            console.warn(
                f"tiktoken cannot load an encoding of {recipe.model}; tokens are estimated"
            )
        for name, value in _summary(recipe, made).items():
            console.err.print(f"{name:<11}{value}", markup=False)
        if dry_run:
            console.note("dry run: nothing was sent")
            return str(file)
        check(out, record)
        if record.status == "succeeded":
            return _finished(record, recipe.model, out)
        client = connect(file)
        if record.job_id is None and not yes:
            _confirm(recipe, made, str(client.base_url.host), file)
        if replaces:
            # The record first: what a kill then leaves is mended by the same command.
            save(out, record)
            write_text(out / RECIPE, dump_recipe(recipe))
            file.replace(out / FILE)
        record = start(client, recipe, out / FILE, record, interval=interval)
    record = follow(client, out, record, interval=interval)
    return _finished(record, recipe.model, out)


def _refuse_others(out: Path) -> None:
    """Refuse a folder that holds something else, such as an adapter."""
    if not out.exists() or (out / FILE).is_file():
        return
    # A kill leaves hidden drafts of ours.
    if not out.is_dir() or any(not path.name.startswith(".") for path in out.iterdir()):
        raise RunError(f"{out}: exists and holds no {FILE} of this command; choose another --out")


def _summary(recipe: Recipe, made: TrainingFile) -> dict[str, str]:
    """Return what is to be known before spending, by name."""
    assert recipe.openai is not None
    tokens, about = made.tokens, "" if made.counter.exact else "about "
    dollars, epochs = made.dollars(recipe.openai), recipe.openai.epochs
    price = "not known; the recipe may say it: openai.dollars_per_million_tokens"
    if dollars is not None:
        price = f"about ${dollars:,.2f}"
        price += " for one epoch; the service chooses how many" if epochs == "auto" else ""
    return {
        "rows": f"{len(tokens):,}",
        "tokens": f"{about}{made.total:,} an epoch; a row {min(tokens):,} to {max(tokens):,}, "
        f"mean {made.total / len(tokens):,.0f}",
        "counted by": made.counter.rule,
        "epochs": str(epochs),
        "price": price,
    }


def _confirm(recipe: Recipe, made: TrainingFile, host: str, file: Path) -> None:
    """Ask on the terminal whether to spend."""
    if not sys.stdin.isatty():
        raise UsageError(
            f"this sends {file} to {host} and costs money: say --yes to go on without a terminal"
        )
    question = f"Send {len(made.tokens)} rows to {host} and fine-tune {recipe.model}? [y/N]"
    console.err.print(question, end=" ", markup=False)
    # typer.confirm and input write to standard output, which is for the model's name alone.
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UsageError(f"not confirmed: nothing was sent; {file} is kept")


def _finished(record: Record, base: str, out: Path) -> str:
    name = str(record.fine_tuned_model)
    console.note(f"{record.job_id} succeeded: {record.trained_tokens or 0:,} tokens trained")
    console.note(
        f"evaluate it with: kv-adapters eval --backend openai --base {base} "
        f"--adapter {shlex.quote(str(out))} --tasks kv_simple --out results"
    )
    return name
