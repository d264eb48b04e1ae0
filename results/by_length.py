"""Score MDQA answers again, cut to their first words: is a change one of reading or of length?

    KV_TASKS_DATA=FOLDER python results/by_length.py results/MODEL

An answer counts as right if an accepted one stands anywhere in it, so that longer ones can only
score higher. Here no answer keeps more than a number of its first words; a shorter one stays as
it is. Writes ``by-length.json`` beside the runs, from which RESULTS.md has its table. The right
answers, which the kept rows do not hold, come from the published questions, or the generated ones.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer

from kv_adapters.comparison.runs import Run, load_run
from kv_adapters.comparison.seeds import by_question, families_of_seeds, over_both
from kv_adapters.comparison.statistics import paired_difference
from kv_tasks import console
from kv_tasks.corpora import load_corpus
from kv_tasks.files import write_text
from kv_tasks.normalize import best_subspan_em

# Real questions; invented ones where a model was asked no real one.
CORPORA = ("nq-open", "encyclopedia")
# Question, the base's response and the adapter's.
Pairs = list[tuple[str, str, str]]
WORDS = (8, 12, 16, 20, 30, None)
app = console.program("Score the answers again, the longer ones cut.")


@app.command()
def main(
    folder: Annotated[Path, typer.Argument(help="results/MODEL: a folder a run, one named base.")],
) -> None:
    """Write by-length.json into a model's folder of kept runs."""
    write_text(folder / "by-length.json", json.dumps(by_length(folder), indent=1) + "\n")


def by_length(folder: Path) -> dict[str, Any]:
    """Return, for each condition and number of words, base, change, interval and p."""
    base = load_run(folder / "base")
    places = [p for p in sorted(folder.iterdir()) if p.is_dir() and p.name != "base"]
    runs = [load_run(place) for place in places]
    for corpus in CORPORA:
        answers = {q.question_id: q.answers for q in load_corpus(corpus).questions}
        asked = {run.label: pairs for run in runs if (pairs := _pairs(base, run, answers))}
        if asked:
            break
    found = {label: _found([pairs], answers) for label, pairs in asked.items()}
    for name, of in families_of_seeds(runs).items():
        seeds = [asked.get(runs[n].label, []) for n in of]
        # Only what all seeds were asked can be pooled.
        if len({tuple(pair[0] for pair in pairs) for pairs in seeds}) == 1 and seeds[0]:
            found[name] = _found(seeds, answers)
    return found


def _found(seeds: Sequence[Pairs], answers: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept of one adapter, or of a recipe's seeds, all asked the same."""
    pairs = [pair for each in seeds for pair in each]
    return {
        "documents": len(seeds[0]),
        "words": [median(len(pair[n].split()) for pair in pairs) for n in (1, 2)],
        "rows": [_row(seeds, answers, words) for words in WORDS],
    }


def _pairs(base: Run, other: Run, answers: Mapping[str, Any]) -> Pairs:
    """Return question and both responses of each document that both runs and the corpus have."""
    pairs: Pairs = []
    for name, task in other.tasks.items():
        if not name.startswith("mdqa_pos") or name not in base.tasks:
            continue
        there = {sample.key: sample.response for sample in base.tasks[name].samples}
        pairs += [
            (sample.question_id, there[sample.key], sample.response)
            for sample in task.samples
            if sample.key in there and sample.question_id in answers
        ]
    return pairs


def _row(
    seeds: Sequence[Pairs], answers: Mapping[str, tuple[str, ...]], words: int | None
) -> dict[str, Any]:
    pairs = [pair for each in seeds for pair in each]
    base, other = (
        [best_subspan_em(_cut(pair[n], words), answers[pair[0]]) for pair in pairs] for n in (1, 2)
    )
    names = [pair[0] for pair in pairs]
    difference = paired_difference(base, other, names)
    if len(seeds) > 1:
        changes = np.subtract(other, base).reshape(len(seeds), -1).tolist()
        difference = over_both(difference, by_question(names[: len(seeds[0])], changes))
    return {
        "words": words,
        "base": round(difference.base, 6),
        "change": round(difference.difference, 6),
        "low": round(difference.low, 6),
        "high": round(difference.high, 6),
        "p": round(difference.p_value, 6),
    }


def _cut(answer: str, words: int | None) -> str:
    """Return the first words of the first line, which alone is scored."""
    line = answer.split("\n", 1)[0]
    return line if words is None else " ".join(line.split()[:words])


if __name__ == "__main__":
    console.run(app)
