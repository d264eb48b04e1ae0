"""``kv-adapters``: verify, evaluate, compare and report adapters."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from kv_adapters.compare_commands import compare_command, report_command
from kv_tasks import console

app = console.program("Evaluate LoRA adapters beside their base model, and say what changed.")
app.command("compare")(compare_command)
app.command("report")(report_command)


@app.command()
def verify(
    adapter: Annotated[Path, typer.Argument(help="Adapter folder.")],
    base: Annotated[str, typer.Option(help="Base model: folder, hub name or short name.")],
) -> None:
    """Check that vLLM will serve the adapter and that it belongs to its base."""
    from kv_adapters.verify import verify as run_checks
    from kv_adapters.verify_table import print_checks
    from kv_train.models import resolve_model

    checks = run_checks(adapter, resolve_model(base))
    print_checks(checks, adapter)
    if any(check.status == "failed" for check in checks):
        raise typer.Exit(1)


@app.command("eval")
def evaluate(
    base: Annotated[str, typer.Option(help="Base model: folder, hub name or short name.")],
    tasks: Annotated[str, typer.Option(help="Task or group names, comma-separated.")],
    out: Annotated[Path, typer.Option(help="Folder for results, one folder a model.")],
    adapter: Annotated[list[Path] | None, typer.Option(help="Adapter folder; repeat it.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Documents a task.")] = None,
    backend: Annotated[
        Literal["vllm", "hf", "server", "openai"], typer.Option(help="Who computes.")
    ] = "vllm",
    url: Annotated[
        str | None, typer.Option(help="Of the server, with --backend server or openai.")
    ] = None,
    tensor_parallel: Annotated[
        int, typer.Option(min=1, help="GPUs that share one model, with vllm.")
    ] = 1,
    chat_template: Annotated[
        Literal["auto", "on", "off"], typer.Option(help="auto: as each task's protocol has it.")
    ] = "auto",
    max_length: Annotated[int | None, typer.Option(min=1, help="Context in tokens.")] = None,
    too_long: Annotated[
        Literal["error", "skip"],
        typer.Option(help="Prompts that do not fit: stop, or leave out and count."),
    ] = "error",
    workers: Annotated[
        int, typer.Option(min=1, help="Engines side by side, on Ray's GPUs or this CPU's cores.")
    ] = 1,
    seed: Annotated[int, typer.Option(help="Of the engine and few-shot sampling.")] = 1234,
) -> None:
    """Evaluate a base model and its adapters in one engine; finished work is reused."""
    from kv_adapters.evaluate import evaluate as run_units
    from kv_adapters.evaluate_table import print_outcomes
    from kv_adapters.plan import Request

    names = [name.strip() for name in tasks.split(",") if name.strip()]
    request = Request(
        base=base,
        adapters=adapter or [],
        tasks=names,
        out=out,
        limit=limit,
        backend=backend,
        chat_template=chat_template,
        max_length=max_length,
        too_long=too_long,
        seed=seed,
        url=url,
        tensor_parallel=tensor_parallel,
        workers=workers,
    )
    outcomes = run_units(request)
    print_outcomes(outcomes)
    if any(outcome.status == "failed" for outcome in outcomes):
        raise typer.Exit(1)


def main() -> None:
    """Entry point of the ``kv-adapters`` command."""
    console.run(app)


if __name__ == "__main__":  # the engine's spawned processes import this module again
    main()
