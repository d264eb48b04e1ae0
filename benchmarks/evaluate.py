"""How long does it take to evaluate a base and its adapters, here and as one would do today?

    python benchmarks/evaluate.py --adapter DIR --adapter DIR --adapter DIR [--questions 20]

Base and adapters on mdqa_pos (six positions) and kv_sweep_4k:

    ours       kv-adapters eval: one engine for all
    vllm       plain ``lm_eval --model vllm``, a process a model
    kernels    the same with this package's LoRA kernels for CPUs (``kv_adapters/cpu_lora.py``);
               not with a GPU, where it would be the same
    hf         plain ``lm_eval --model hf``, a process a model
    separate   ours, the sweep's questions each over a haystack of its own (kv_simple_4k_template)

Printed are wall time, processor time (which other work on the machine disturbs less), engine
starts, prompt tokens, the share found in the prefix cache, peak memory of all processes, and
which answers' scores differ. All sides have the same cores, precision, limits and prefix
caching. ``--scaling`` adds ours with fewer adapters and documents; ``--sides`` chooses, and
without any only that is left.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from rich.console import Console
from rich.table import Table

from kv_adapters.engine_settings import cpu_dtype, gpu
from kv_tasks.paths import task_configs
from kv_train.models import resolve_model

TASKS = "mdqa_pos,kv_sweep_4k"
SWEEP = ("kv_sweep_4k", "kv_simple_4k_template")
# lm_eval, where vLLM is installed as a CPU wheel that it does not know by name, and with the
# tokens counted that the engine computes and finds in its cache.
PLAIN_VLLM = """
import atexit, json, os, sys
from kv_adapters.backends.vllm import _harness_class
from kv_adapters.engine_settings import environment
os.environ.update({"VLLM_LOGGING_LEVEL": "ERROR", **environment()})
harness = _harness_class()
from kv_adapters.evaluation.usage import Usage
usage, generate = Usage(), harness._model_generate
def counted(self, *arguments, **options):
    outputs = generate(self, *arguments, **options)
    usage.add(outputs)
    open(os.environ["USAGE"], "w").write(json.dumps(usage.since(Usage())))
    return outputs
harness._model_generate = counted
from lm_eval.__main__ import cli_evaluate
if __name__ == "__main__":
    cli_evaluate()
"""


PLAIN = {
    "vllm": "lm_eval --model vllm",
    "kernels": "the same, our kernels",
    "hf": "lm_eval --model hf",
}


@dataclass(frozen=True)
class Side:
    """What one way cost.

    Attributes:
        seconds: wall time, engine starts included.
        processor: seconds of all cores together.
        starts: engine processes that were seen; with hf, loads of the model.
        prompt: prompt tokens, None where they are not counted.
        cached: of these, found in the prefix cache.
        memory: bytes of all processes together at their peak.
        folders: model label to the folder of its samples.
    """

    name: str
    seconds: float
    processor: float
    starts: int
    prompt: int | None
    cached: int | None
    memory: int
    folders: dict[str, Path]


class Watched:
    """Runs commands; remembers processor time and largest memory of their process trees."""

    def __init__(self) -> None:
        self.peak = 0
        self.engines: set[int] = set()
        self.seconds = self.processor = 0.0

    def run(self, command: Sequence[str], **environment: str) -> None:
        """Run one command; what it printed is shown when it fails."""
        started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        with tempfile.TemporaryFile("w+") as log:
            process = subprocess.Popen(
                command, env={**os.environ, **environment}, stdout=log, stderr=log
            )
            watcher = threading.Thread(target=self._watch, args=(process.pid,), daemon=True)
            watcher.start()
            code = process.wait()
            watcher.join()
            log.seek(0)
            if code:
                sys.exit(f"{' '.join(command)}\nended with {code}:\n{log.read()[-3000:]}")
        self.seconds += time.perf_counter() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.processor += after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def _watch(self, pid: int) -> None:
        while psutil.pid_exists(pid):
            try:
                root = psutil.Process(pid)
                tree = [root, *root.children(recursive=True)]
                self.peak = max(self.peak, sum(process.memory_info().rss for process in tree))
                self.engines |= {p.pid for p in tree if "EngineCore" in " ".join(p.cmdline())}
            except psutil.Error:
                pass
            time.sleep(0.2)
            if psutil.pid_exists(pid) and psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return


def ours(base: str, adapters: Sequence[Path], limit: int, out: Path, tasks: str, name: str) -> Side:
    """Evaluate all models in one engine."""
    watched = Watched()
    command = [sys.executable, "-m", "kv_adapters.cli", "eval", "--base", base, "--tasks", tasks]
    command += ["--limit", str(limit), "--out", str(out)]
    command += [part for adapter in adapters for part in ("--adapter", str(adapter))]
    watched.run(command)
    records = [
        json.loads(file.read_text())["kv_adapters"] for file in sorted(out.rglob("results_*.json"))
    ]
    prompt, cached = (sum(r[f"{key}_tokens"] for r in records) for key in ("prompt", "cached"))
    folders = {folder.name: folder for folder in sorted(out.iterdir())}
    starts = len(watched.engines)
    return Side(
        name, watched.seconds, watched.processor, starts, prompt, cached, watched.peak, folders
    )


def plain(
    side: str,
    base: str,
    adapters: Sequence[Path],
    limit: int,
    out: Path,
    tasks: str,
    batch_size: int,
) -> Side:
    """Evaluate model by model with lm_eval alone."""
    kind = "hf" if side == "hf" else "vllm"
    plugins = "kv_adapters_cpu_lora" if side == "kernels" else ""
    watched, folder = Watched(), resolve_model(base)
    prompt = cached = 0
    folders = {}
    for adapter in [None, *adapters]:
        label = adapter.name if adapter else "base"
        folders[label] = out / label
        command = [sys.executable, "-c", PLAIN_VLLM] if kind == "vllm" else []
        command = command or [sys.executable, "-m", "lm_eval"]
        model_args = ",".join(_model_args(kind, folder, adapter))
        command += ["--model", kind, "--model_args", model_args, "--tasks", tasks]
        command += ["--apply_chat_template", "--limit", str(limit), "--log_samples"]
        command += ["--include_path", str(task_configs()), "--output_path", str(out / label)]
        command += ["--batch_size", "auto" if kind == "vllm" else str(batch_size)]
        usage = out / f"{label}.usage"
        out.mkdir(parents=True, exist_ok=True)
        watched.run(command, USAGE=str(usage), VLLM_PLUGINS=plugins)
        if usage.is_file():
            counted = json.loads(usage.read_text())
            prompt, cached = prompt + counted["prompt_tokens"], cached + counted["cached_tokens"]
    known = kind == "vllm"
    starts = len(watched.engines) if known else len(folders)
    return Side(
        PLAIN[side], watched.seconds, watched.processor, starts, prompt if known else None,
        cached if known else None, watched.peak, folders,
    )  # fmt: skip


def _model_args(kind: str, folder: Path, adapter: Path | None) -> Iterator[str]:
    yield f"pretrained={folder}"
    yield f"dtype={_dtype()}"
    if kind == "hf":
        yield from [f"peft={adapter}"] if adapter else []
        return
    yield "enable_prefix_caching=True"
    # Without a GPU nothing is compiled on either side.
    yield from [] if gpu() else ["enforce_eager=True"]
    if adapter:
        yield from ("enable_lora=True", "max_lora_rank=16", f"lora_local_path={adapter.resolve()}")


def scores(folder: Path) -> dict[tuple[str, int], Any]:
    """Return every document's headline scores by task and number."""
    found = {}
    for file in sorted(folder.rglob("samples_*.jsonl")):
        task = file.name.removeprefix("samples_").rsplit("_", 1)[0]
        for line in file.read_text().splitlines():
            row = json.loads(line)
            found[task, row["doc_id"]] = [row[name] for name in row["metrics"]]
    return found


def differences(one: Side, other: Side) -> list[str]:
    """Return the documents whose scores differ between two sides."""
    found = []
    for label, folder in one.folders.items():
        mine, theirs = scores(folder), scores(other.folders[label])
        if mine.keys() != theirs.keys():
            found.append(f"{label}: {len(mine)} and {len(theirs)} documents")
        found += [
            f"{label} {task} {number}"
            for (task, number), score in mine.items()
            if str(theirs.get((task, number), score)) != str(score)
        ]
    return found


def print_sides(title: str, sides: Sequence[Side]) -> None:
    """Print a line a side, each beside the first."""
    table = Table(title=title)
    for name in (
        "side",
        "seconds",
        "times ours",
        "CPU s",
        "times",
        "starts",
        "prompt tokens",
        "cached",
        "peak GB",
    ):
        table.add_column(name, justify="left" if name == "side" else "right")
    for side in sides:
        share = (
            f"{side.cached / side.prompt:.0%}" if side.prompt and side.cached is not None else ""
        )
        table.add_row(
            side.name, f"{side.seconds:.0f}", f"{side.seconds / sides[0].seconds:.1f}",
            f"{side.processor:.0f}", f"{side.processor / sides[0].processor:.1f}",
            str(side.starts), f"{side.prompt:,}" if side.prompt else "", share,
            f"{side.memory / 1e9:.1f}",
        )  # fmt: skip
    Console(width=100).print(table)


def _dtype() -> str:
    return "auto" if gpu() else cpu_dtype()


def _device() -> str:
    return torch.cuda.get_device_name() if gpu() else f"{len(os.sched_getaffinity(0))} cores"


def main() -> None:
    """Run the sides one after another and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default="smollm2-135m")
    parser.add_argument("--adapter", type=Path, action="append", default=[])
    parser.add_argument("--tasks", default=TASKS)
    parser.add_argument("--questions", type=int, default=20, help="documents a task")
    known = ("ours", *PLAIN, "separate")
    parser.add_argument("--sides", nargs="*", choices=known, default=list(known))
    parser.add_argument("--batch-size", type=int, default=8, help="of the hf side")
    parser.add_argument("--scaling", action="store_true")
    asked = parser.parse_args()
    base, adapters, limit, tasks = asked.base, asked.adapter, asked.questions, asked.tasks
    print(
        f"{base} and {len(adapters)} adapters, {tasks}, {limit} documents a task; "
        f"{_device()}, {_dtype()}, prefix caching on, hf in batches of {asked.batch_size}"
    )
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)
        sides = []
        # What the plain ones are held against.
        if set(asked.sides) & {"ours", *PLAIN}:
            sides.append(ours(base, adapters, limit, out / "ours", tasks, "kv-adapters eval"))
        for name in PLAIN if sides else ():
            if name in asked.sides and not (name == "kernels" and gpu()):
                sides.append(
                    plain(name, base, adapters, limit, out / name, tasks, asked.batch_size)
                )
                # What is done is shown: the next side may take an hour.
                print_sides("base and adapters", sides)
                found = differences(sides[0], sides[-1])
                print(
                    f"scores that differ from {PLAIN[name]}: {len(found)} {'; '.join(found[:12])}"
                )
        if len(sides) == 1:
            print_sides("base and adapters", sides)
        if "separate" in asked.sides:
            print_sides(
                "the sweep's questions",
                [
                    ours(base, (), limit, out / "sweep", SWEEP[0], "one haystack"),
                    ours(base, (), limit, out / "alone", SWEEP[1], "one each"),
                ],
            )
        if asked.scaling:
            grid = [(count, n) for count in range(len(adapters) + 1) for n in (limit // 2, limit)]
            print_sides(
                "scaling",
                [
                    ours(base, adapters[:count], n, out / f"scale-{count}-{n}", tasks,
                         f"{count} adapters, {n} documents")
                    for count, n in grid
                ],
            )  # fmt: skip


if __name__ == "__main__":
    main()
