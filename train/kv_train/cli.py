"""``kv-train``: train adapters, and find base models."""

from pathlib import Path
from typing import Annotated

import typer

from kv_tasks import console

app = console.program("LoRA fine-tuning on synthetic retrieval prompts.")


@app.callback()
def _program() -> None:
    """LoRA fine-tuning on synthetic retrieval prompts."""


@app.command()
def run(
    recipe: Annotated[str, typer.Argument(help="Recipe file, or the name of a packaged one.")],
    out: Annotated[
        Path | None, typer.Option(help="Adapter folder. [default: adapters/NAME]")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override, e.g. training.epochs=1."),
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a finished adapter.")] = False,
) -> None:
    """Train an adapter; the same command resumes after a kill."""
    from kv_train.recipe import load_recipe

    loaded = load_recipe(recipe, set_ or [])
    with console.requires("train"):
        from kv_train.run import run as train

    folder = train(loaded, out or Path("adapters") / loaded.name, overwrite=overwrite)
    console.out.print(str(folder), markup=False)


@app.command()
def model(
    name: Annotated[str, typer.Argument(help="smollm2-135m, a hub name, or a folder.")],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit.")] = None,
) -> None:
    """Fetch a base model if needed and print its folder."""
    from kv_train.models import resolve_model

    console.out.print(str(resolve_model(name, revision)), markup=False)


def main() -> None:
    """Entry point of the ``kv-train`` command."""
    console.run(app)
