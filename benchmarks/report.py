"""How long do comparison and report take for large runs, how much memory, how large is the page?

    python benchmarks/report.py [--rows 100000]

Two runs of as many sample rows each are written as lm_eval writes them: half of the rows over
documents at six positions, prompts of 4,000 characters, the rest multiple choice in 57 tasks.
Then ``kv-adapters compare`` and ``kv-adapters report`` are run as commands, and timed.
"""

import argparse
import contextlib
import json
import random
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from kv_tasks.errors import EXIT_ERROR

DATE = "2026-01-02T03-04-05.678901"
POSITIONS = (1, 2, 5, 10, 15, 20)
SUBJECTS = 57
PROMPT = "Document [{}](Title: A book) It was written by somebody else, as books are. "


def rows(label: str, count: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield task and sample; the second model is a little better in the middle."""
    rng, better = random.Random(label), 0.1 * (label != "base")
    for place in POSITIONS:
        for n in range(count // 2 // len(POSITIONS)):
            doc = {"question_id": f"q{n}", "question": f"who wrote book {n}?", "answers": ["Ada"],
                   "gold_position": place, "depth": (place - 1) / 19, "length": 1000}  # fmt: skip
            score = float(rng.random() < 0.6 - 0.02 * place + better)
            text = "".join(PROMPT.format(k) for k in range(1, 54)) + str(doc["question"])
            yield f"mdqa_pos_{place:02}", row(n, doc, text, "Ada" if score else "Bob", score)
    for subject in range(SUBJECTS):
        for n in range(count // 2 // SUBJECTS):
            score = float(rng.random() < 0.5)
            choices = [[-1.0, False]] * 4
            made = row(n, {"question": "?"}, "Which of these? " * 20, "", score)
            yield f"mmlu_{subject:02}", made | {"filtered_resps": choices, "resps": choices}


def row(n: int, doc: dict[str, Any], prompt: str, answer: str, score: float) -> dict[str, Any]:
    """Return one line of a samples file."""
    return {
        "doc_id": n, "doc": doc, "target": "Ada", "resps": [[answer]], "filtered_resps": [answer],
        "arguments": {"gen_args_0": {"arg_0": prompt, "arg_1": {}}}, "filter": "none",
        "metrics": ["acc"], "acc": score, "doc_hash": f"d{n}", "prompt_hash": f"p{n}",
    }  # fmt: skip


def write_run(folder: Path, label: str, count: int) -> Path:
    """Write a run as lm_eval does; return its folder."""
    out = folder / label
    out.mkdir()
    sizes: dict[str, int] = {}
    stream = None
    for task, line in rows(label, count):
        if task not in sizes:
            if stream:
                stream.close()
            stream = (out / f"samples_{task}_{DATE}.jsonl").open("w")
        sizes[task] = sizes.get(task, 0) + 1
        stream.write(json.dumps(line) + "\n")  # type: ignore[union-attr]
    if stream:
        stream.close()
    groups = {group: [name for name in sizes if name.startswith(group)]
              for group in ("mdqa_pos", "mmlu")}  # fmt: skip
    results = {
        "results": {}, "configs": {name: {} for name in sizes}, "config": {},
        "group_subtasks": groups | {name: [] for name in sizes},
        "higher_is_better": {name: {"acc": True} for name in sizes},
        "n-samples": {name: {"effective": size} for name, size in sizes.items()},
    }  # fmt: skip
    (out / f"results_{DATE}.json").write_text(json.dumps(results))
    return out


def timed(command: Sequence[str]) -> tuple[float, float]:
    """Run a command; return seconds and its largest memory in GB."""
    started, peak = time.perf_counter(), 0
    process = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        with contextlib.suppress(psutil.Error):
            peak = max(peak, process.memory_info().rss)
        time.sleep(0.05)
    # The other codes are verdicts.
    if process.returncode == EXIT_ERROR:
        raise SystemExit(f"{shlex.join(command)}: failed")
    return time.perf_counter() - started, peak / 1e9


def main() -> None:
    """Write the runs, time both commands, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    count = parser.parse_args().rows
    table = Table(title=f"base and adapter, {count:,} rows each")
    for name in ("command", "seconds", "peak GB", "page MB"):
        table.add_column(name, justify="left" if name == "command" else "right")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        runs = [str(write_run(folder, label, count)) for label in ("base", "tuned")]
        program = [sys.executable, "-m", "kv_adapters.cli"]
        seconds, memory = timed([*program, "compare", *runs])
        table.add_row("compare", f"{seconds:.0f}", f"{memory:.1f}", "")
        seconds, memory = timed([*program, "report", *runs, "--out", str(folder / "out")])
        size = (folder / "out" / "report.html").stat().st_size / 1e6
        table.add_row("report", f"{seconds:.0f}", f"{memory:.1f}", f"{size:.1f}")
    Console(width=80).print(table)


if __name__ == "__main__":
    main()
