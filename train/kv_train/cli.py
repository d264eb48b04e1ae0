"""``kv-train``: check a recipe, train it here or by the OpenAI API, find base models."""

from pathlib import Path
from typing import Annotated, Any

import typer

from kv_tasks import console
from kv_tasks.errors import RecipeError, UsageError
from kv_tasks.files import check_out, write_text
from kv_tasks.tokens import template_arguments

RecipeName = Annotated[str, typer.Argument(help="Recipe file, or the name of a packaged one.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override, e.g. training.epochs=1."),
]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit.")]

app = console.suite("LoRA fine-tuning on synthetic retrieval prompts.")


@app.command()
def run(
    recipe: RecipeName,
    out: Annotated[
        Path | None, typer.Option(help="Adapter folder. [default: the recipe's, or adapters/NAME]")
    ] = None,
    set_: Set = None,
    seeds: Annotated[
        str | None,
        typer.Option(metavar="0,1,2", help="Train one adapter a seed, each in OUT-seedN."),
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a finished adapter.")] = False,
) -> None:
    """Train an adapter; the same command resumes after a kill."""
    from kv_train.recipe_files import for_seeds, load_recipe

    loaded = load_recipe(recipe, set_ or [])
    if loaded.openai is not None:
        raise RecipeError(f"{recipe}: has an 'openai' section; run: kv-train openai {recipe}")
    folder = out or loaded.folder
    check_out(folder, folder=True, new=True)
    planned = for_seeds(loaded, folder, seeds)
    with console.requires("train"):
        from kv_train.run import run as train

    for one, made in planned:
        console.result(train(one, made, overwrite=overwrite))


@app.command()
def check(
    recipe: RecipeName,
    set_: Set = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Folder whose tokenizer, and config.json if any, stand in for the model's.",
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail also where something could not be checked.")
    ] = False,
    json_: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all facts as JSON, too.")
    ] = None,
) -> None:
    """Say what a recipe will do and cost, and what is wrong with it; nothing is trained.

    Exits with 1 if something would stop the training. Weights are never fetched.
    """
    from kv_train.recipe_files import load_recipe

    loaded = load_recipe(recipe, set_ or [])
    if loaded.openai is not None:
        raise RecipeError(
            f"{recipe}: has an 'openai' section; run: kv-train openai {recipe} --dry-run"
        )
    with console.requires("train"):
        from kv_train.check.rendering import as_json, print_report
        from kv_train.check.report import check as examine

    if json_ is not None:
        check_out(json_, flag="--json")
    report = examine(loaded, tokenizer)
    print_report(report, strict=strict)
    if json_ is not None:
        write_text(json_, as_json(report))
    if report.failed(strict=strict):
        raise typer.Exit(1)


@app.command("openai")
def openai_job(
    recipe: RecipeName,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the job. [default: the recipe's, or adapters/NAME]"),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override, e.g. openai.epochs=1."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write and check the file; send nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Spend without asking.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start another job where one is over.")
    ] = False,
    interval: Annotated[
        float, typer.Option(min=0.001, help="Seconds from one look at the job to the next.")
    ] = 20.0,
) -> None:
    """Fine-tune a model of the OpenAI API; the same command follows a running job.

    Prints the model's name. Needs OPENAI_API_KEY; OPENAI_BASE_URL chooses another service.
    OpenAI's own takes no new customers, and no jobs from January 6, 2027; --dry-run needs neither.
    """
    from kv_train.recipe_files import load_recipe

    loaded = load_recipe(recipe, set_ or [])
    with console.requires("openai"):
        from kv_train.openai_jobs.command import fine_tune

    folder = out or loaded.folder
    check_out(folder, folder=True, new=True)
    result = fine_tune(
        loaded,
        folder,
        dry_run=dry_run,
        yes=yes,
        overwrite=overwrite,
        interval=interval,
    )
    console.result(result)


@app.command("own-answers")
def own_answers(
    base: Annotated[str, typer.Argument(help="Base model: folder, hub name or short name.")],
    out: Annotated[Path, typer.Option(help="JSON lines file to write, for a recipe's mix.")],
    prompts: Annotated[
        Path | None,
        typer.Option(
            help='JSON lines file of yours with a "prompt" each. [default: ordinary prompts that '
            "ship with the package]"
        ),
    ] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Of the ordinary prompts.", show_default="all")
    ] = None,
    max_tokens: Annotated[
        int, typer.Option(min=1, help="An answer that goes on for longer is left out.")
    ] = 224,
    batch_size: Annotated[int, typer.Option(min=1, help="Prompts answered together.")] = 32,
    chat_template_args: Annotated[
        dict[str, Any] | None,
        typer.Option(
            parser=template_arguments,
            metavar="JSON",
            help="As the recipe's data.chat_template_kwargs.",
        ),
    ] = None,
    revision: Revision = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a file that is there.")] = False,
) -> None:
    """Write the base model's own answers to ordinary prompts, which training then keeps.

    The same command goes on after a kill.
    """
    from kv_train.models import check_revision, resolve_model
    from kv_train.ordinary_prompts import ordinary_prompts

    if prompts is not None and samples is not None:
        raise UsageError("--samples: counts the ordinary prompts; a file is answered whole")
    check_out(out)
    if out.exists() and not overwrite:
        raise UsageError(f"--out {out}: exists; choose another name, or replace it by --overwrite")
    check_revision(base, revision)
    with console.requires("train"):
        from kv_train.own_answers import Greedy, identity, read_prompts, write_own_answers

    asked = ordinary_prompts(samples) if prompts is None else read_prompts(prompts)
    folder = resolve_model(base, revision)
    settings = {"max_tokens": max_tokens, "chat_template_args": chat_template_args}
    mark = identity(folder, asked, settings)
    answering = Greedy(folder, max_tokens, chat_template_args)
    answering.check(asked)
    kept = write_own_answers(out, asked, answering, mark, batch_size, overwrite=overwrite)
    console.note(
        f"{kept} answers; {len(asked) - kept} left out, which did not end within {max_tokens} "
        "tokens or said nothing"
    )
    console.result(out)


@app.command()
def model(
    name: Annotated[str, typer.Argument(help="smollm2-135m, a hub name, or a folder.")],
    revision: Revision = None,
) -> None:
    """Fetch a base model if needed and print its folder."""
    from kv_train.models import check_revision, resolve_model

    check_revision(name, revision)
    console.result(resolve_model(name, revision))


def main() -> None:
    """Entry point of the ``kv-train`` command."""
    console.run(app)
