"""``kv-adapters``: verify, evaluate, compare, report, describe, scale and serve adapters."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from kv_adapters.backends import BackendName
from kv_adapters.comparison.commands import compare_command
from kv_adapters.reports.commands import card_command, report_command
from kv_tasks import console
from kv_tasks.errors import EXIT_ERROR, EXIT_USAGE, UsageError
from kv_tasks.tokens import template_arguments

GpuShare = Annotated[
    float | None,
    typer.Option(
        min=0.01,
        max=1,
        help="Share of a GPU that vllm may fill; less where others use it. [default: vLLM's]",
    ),
]

app = console.suite("Evaluate LoRA adapters beside their base model, and say what changed.")
app.command("compare")(compare_command)
app.command("report")(report_command)
app.command("card")(card_command)


@app.command()
def verify(
    adapter: Annotated[Path, typer.Argument(help="Adapter folder.")],
    base: Annotated[
        str | None,
        typer.Option(
            help="Base model: folder, hub name or short name.", show_default="as the adapter says"
        ),
    ] = None,
    live: Annotated[
        bool,
        typer.Option(help="Load the base model and ask vLLM; without, files alone are looked at."),
    ] = True,
    gpu_memory_utilization: GpuShare = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the checks as JSON, too.")
    ] = None,
) -> None:
    """Check that vLLM serves the adapter, that it does something, and that it fits its base."""
    from kv_adapters.checks.table import as_json, print_checks

    with console.requires("train"):
        from kv_adapters.checks.verify import verify as run_checks
    from kv_tasks.files import check_out, write_text

    if json_file:
        check_out(json_file, flag="--json")
    if gpu_memory_utilization and not live:
        raise UsageError("--gpu-memory-utilization: nothing is loaded with --no-live; drop one")
    checks = run_checks(adapter, base, live=live, gpu_share=gpu_memory_utilization)
    print_checks(checks, adapter)
    if json_file:
        write_text(json_file, as_json(checks, adapter))
    if any(check.status == "failed" for check in checks):
        raise typer.Exit(1)


@app.command("eval")
def evaluate(
    base: Annotated[str, typer.Option(help="Base model: folder, hub name or short name.")],
    tasks: Annotated[str, typer.Option(help="Task or group names, comma-separated.")],
    out: Annotated[Path, typer.Option(help="Folder for results, one folder a model.")],
    adapter: Annotated[list[Path] | None, typer.Option(help="Adapter folder; repeat it.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Documents a task.")] = None,
    num_fewshot: Annotated[
        int | None,
        typer.Option(min=0, help="Examples before each question. [default: what each task has]"),
    ] = None,
    backend: Annotated[BackendName, typer.Option(help="Who computes.")] = "vllm",
    url: Annotated[
        str | None, typer.Option(help="Address of the server, with --backend server or openai.")
    ] = None,
    tensor_parallel: Annotated[
        int, typer.Option(min=1, help="GPUs that share one model, with vllm.")
    ] = 1,
    gpu_memory_utilization: GpuShare = None,
    vllm_args: Annotated[
        dict[str, Any] | None,
        typer.Option(
            parser=console.json_object,
            metavar="JSON",
            help="Further arguments of vLLM's engine, as JSON, such as "
            '\'{"dtype": "float32", "enforce_eager": true}\'.',
        ),
    ] = None,
    chat_template: Annotated[
        Literal["auto", "on", "off"], typer.Option(help="auto: as each task's protocol has it.")
    ] = "auto",
    chat_template_args: Annotated[
        dict[str, Any] | None,
        typer.Option(
            parser=template_arguments,
            metavar="JSON",
            help="What the chat template is called with, as JSON, such as "
            "'{\"enable_thinking\": false}'. [default: as the adapters were trained]",
        ),
    ] = None,
    max_length: Annotated[int | None, typer.Option(min=1, help="Context in tokens.")] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Prompts computed together with hf, or asked at once of a server (16); vllm "
            "decides itself.",
            show_default="8",
        ),
    ] = None,
    too_long: Annotated[
        Literal["error", "skip"],
        typer.Option(
            help="Prompts that do not fit: stop, or leave out and count; with a server, say "
            "--max-length, too."
        ),
    ] = "error",
    workers: Annotated[
        int, typer.Option(min=1, help="Engines side by side, on Ray's GPUs or this CPU's cores.")
    ] = 1,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="With --backend openai: folder or hub name of the tokenizer that counts for tasks "
            "of a given length, such as kv_simple_16k."
        ),
    ] = None,
    include_path: Annotated[
        Path | None,
        typer.Option(help="Folder of your own task files, as lm_eval's --include_path."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the engine and of few-shot sampling.")] = 1234,
) -> None:
    """Evaluate a base model and its adapters in one engine; finished work is reused."""
    with console.requires("train"):
        from kv_adapters.evaluation.evaluate import evaluate as run_units
        from kv_adapters.evaluation.plan import Request
    from kv_adapters.evaluation.table import print_outcomes
    from kv_tasks.files import check_out

    check_out(out, folder=True)
    names = [name.strip() for name in tasks.split(",") if name.strip()]
    request = Request(
        base=base,
        adapters=adapter or [],
        tasks=names,
        out=out,
        limit=limit,
        num_fewshot=num_fewshot,
        backend=backend,
        chat_template=chat_template,
        chat_template_args=chat_template_args,
        max_length=max_length,
        batch_size=batch_size,
        too_long=too_long,
        seed=seed,
        url=url,
        tensor_parallel=tensor_parallel,
        gpu_memory_utilization=gpu_memory_utilization,
        vllm_args=vllm_args,
        workers=workers,
        tokenizer=tokenizer,
        include_path=include_path,
    )
    outcomes = run_units(request)
    print_outcomes(outcomes)
    if any(outcome.status == "failed" for outcome in outcomes):
        raise typer.Exit(1)


@app.command()
def serve(
    base: Annotated[str, typer.Option(help="Base model: folder, hub name or short name.")],
    adapter: Annotated[
        list[Path] | None, typer.Option(help="Adapter folder, served by its name; repeat it.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; with any but loopback a key is needed.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any free one.")] = 8000,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="VLLM_API_KEY",
            help="Key that every request must carry. Better in the variable: a process list shows "
            "options. [default: none on loopback, elsewhere a random one, printed once]",
        ),
    ] = None,
    max_length: Annotated[int | None, typer.Option(min=1, help="Context in tokens.")] = None,
    allow_runtime_loading: Annotated[
        bool,
        typer.Option(
            "--allow-runtime-loading",
            help="Let clients load adapters by path. Off, since whoever can reach the server could "
            "then have it load any file.",
        ),
    ] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to become ready in.")] = 600,
    log: Annotated[
        Path | None, typer.Option(help="What vLLM prints. [default: a temporary file]")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the engine.")] = 1234,
    vllm_flags: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="-- FLAGS",
            help="Passed on to vLLM, such as -- --tensor-parallel-size 2.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Serve a base model and its adapters by name: vLLM's OpenAI-compatible server."""
    with console.requires("train"):
        from kv_adapters.serving.plan import ServeRequest
        from kv_adapters.serving.serve import serve as run_server

    request = ServeRequest(
        base=base,
        adapters=adapter or [],
        host=host,
        port=port,
        api_key=api_key,
        max_length=max_length,
        allow_runtime_loading=allow_runtime_loading,
        timeout=timeout,
        log=log,
        seed=seed,
        vllm_flags=vllm_flags or [],
    )
    run_server(request)


@app.command()
def scale(
    adapter: Annotated[Path, typer.Argument(help="Adapter folder; it is left as it is.")],
    by: Annotated[
        float,
        typer.Option(help="Near 0 is the base model, 1 the adapter itself; above 1 is stronger."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the scaled adapter.")],
) -> None:
    """Weaken an adapter: less of what it learned, and less of what it cost, without training."""
    with console.requires("train"):
        from kv_adapters.scaling import scale_adapter
    from kv_tasks.files import check_out

    check_out(out, folder=True, new=True)
    scale_adapter(adapter, by, out)
    console.result(out)


def main() -> None:
    """Entry point of the ``kv-adapters`` command."""
    # Its 2 says that evidence is missing; wrong usage must not look like that in CI.
    console.run(app, usage_error=EXIT_ERROR if "compare" in sys.argv[1:2] else EXIT_USAGE)


if __name__ == "__main__":  # the engine's spawned processes import this module again
    main()
