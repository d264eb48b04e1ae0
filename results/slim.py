"""Keep of a run what its numbers can be checked with, and no more.

    python results/slim.py RUN results/MODEL/CONDITION

RUN is a folder that ``kv-adapters eval`` or ``lm_eval --log_samples`` wrote for one model. Scores,
the model's answers, hashes and where the gold document stood are kept. Prompts and right answers
are not: they are the data sets' own, and the task's seed makes them again. ``kv-adapters
compare`` reads what is left like any other run.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import jsonlines
import typer

from kv_adapters.comparison.runs import load_run
from kv_tasks import console
from kv_tasks.files import check_out, write_jsonl, write_text

ROW = (
    "doc_id", "doc_hash", "prompt_hash", "target_hash", "filter", "metrics", "filtered_resps",
)  # fmt: skip
DOC = ("question_id", "gold_position", "depth", "length", "skipped")
# Long, of this machine alone, or said by the task's own files.
RESULTS = (
    "pretty_env_info", "configs", "upper_git_hash", "git_hash", "eot_token_id",
    "model_name_sanitized",
)  # fmt: skip
REPOSITORY = Path(__file__).resolve().parents[1]
app = console.program("Keep of a run what its numbers can be checked with.")


@app.command()
def slim(
    run: Annotated[Path, typer.Argument(help="What eval or lm_eval wrote for one model.")],
    out: Annotated[Path, typer.Argument(help="Where to keep it: results/MODEL/CONDITION.")],
) -> None:
    """Copy a run's folder without its prompts."""
    check_out(out, folder=True, flag="OUT")
    run = load_run(run).folder
    for file in sorted(run.glob("results_*.json")):
        results = json.loads(file.read_text(encoding="utf-8"))
        kept = {key: value for key, value in results.items() if key not in RESULTS}
        # The comparison asks which tasks there are, not how they are made.
        kept["configs"] = {name: {} for name in results["configs"]}
        write_text(out / file.name, _portable(json.dumps(kept, indent=1, sort_keys=True)) + "\n")
    for file in sorted(run.glob("samples_*.jsonl")):
        write_jsonl(out / file.name, _rows(file))


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    with jsonlines.open(file) as reader:
        for row in reader:
            doc: Mapping[str, Any] = row["doc"] if isinstance(row["doc"], Mapping) else {}
            kept = {key: row[key] for key in (*ROW, *row["metrics"]) if key in row}
            yield kept | {"doc": {key: doc[key] for key in DOC if key in doc}}


def _portable(text: str) -> str:
    """Take this machine's folders out of paths."""
    return text.replace(f"{REPOSITORY}/", "").replace(f"{Path.home()}/", "~/")


if __name__ == "__main__":
    console.run(app)
