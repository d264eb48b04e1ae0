"""Write RESULTS.md, a page a study with every table, and the figures, from the runs kept here.

    python results/write.py          # or: make results

What a condition is, and what was found, is written by hand (about.yaml of each study, and the
template of RESULTS.md); tables and figures are computed from the harness's own files by
``kv_adapters.comparison``.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import jsonlines
import search
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from overview import Section, draw, interval, one_a_recipe, seeds_of, table
from study import load_study

from kv_adapters.comparison import tables
from kv_adapters.comparison.compare import Comparison
from kv_adapters.comparison.runs import Run, load_run
from kv_adapters.comparison.verdict import Verdict, judge
from kv_adapters.reports.figures import draw_all
from kv_adapters.reports.figures.scene import Scene
from kv_tasks import console
from kv_tasks.files import atomic_path, write_text
from kv_train.held_out import PARTS, other_kinds

HERE = Path(__file__).resolve().parent
LENGTHS = "by-length.json"
PARTS_OF_A_KEY = ("value_match", "dictionary_match")
# As they stand in RESULTS.md, each group with an overview.
GROUPS = {
    "SmolLM2-135M-Instruct, five documents": (
        "smollm2-135m-gpu",
        "smollm2-135m-scaled",
        "smollm2-135m-targets",
        "smollm2-135m-kl",
        "smollm2-135m",
        "smollm2-135m-middle",
        "smollm2-135m-demo",
    ),
    "SmolLM2-135M-Instruct, twenty documents": (
        "smollm2-135m-gpu-twenty",
        "smollm2-135m-scaled-twenty",
        "smollm2-135m-4k",
        "smollm2-135m-4k-kl",
        "smollm2-135m-twenty",
    ),
    "Qwen2.5-Coder-0.5B-Instruct": (
        "qwen2.5-coder-0.5b",
        "qwen2.5-coder-0.5b-vllm",
        "qwen2.5-coder-0.5b-short",
        "qwen2.5-coder-0.5b-short-twenty",
    ),
}
app = console.program("Write RESULTS.md, its studies' pages and figures.")


@app.command()
def main() -> None:
    """Write the pages and their figures."""
    pages, figures = render()
    for name, content in figures.items():
        with atomic_path(HERE / "figures" / name) as draft:
            draft.write_bytes(content)
    for place, text in pages.items():
        write_text(HERE.parent / place, text)


def render() -> tuple[dict[str, str], dict[str, bytes]]:
    """Return every page's text by its place in the repository, every figure's bytes by name."""
    environment = Environment(
        loader=FileSystemLoader(HERE), undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, autoescape=False,
    )  # fmt: skip
    environment.filters["table"] = _markdown
    figures: dict[str, bytes] = {}
    groups: list[dict[str, Any]] = []
    for number, (title, names) in enumerate(GROUPS.items(), start=1):
        studies = [_study(name, figures) for name in names]
        overview = draw([study["section"] for study in studies if study["section"]])
        file = f"overview-{number}.svg"
        figures[file] = overview.svg
        groups.append({
            "title": title, "studies": studies, "file": file, "caption": overview.caption,
        })  # fmt: skip
    page, further = (environment.get_template(f"{name}.md.j2") for name in ("RESULTS", "STUDY"))
    everything = [study for group in groups for study in group["studies"]]
    rows = {(study["name"], row[0]): row for study in everything for row in study["rows"]}
    texts = {"RESULTS.md": page.render(groups=groups, rows=rows)}
    for study in everything:
        texts[f"results/{study['name']}/README.md"] = further.render(study=study)
    return texts, figures


def _study(name: str, figures: dict[str, bytes]) -> dict[str, Any]:
    """Return what the pages say of one study; its figures are added to ``figures``."""
    folder = HERE / name
    about = load_study(folder)
    runs = {condition: load_run(folder / condition) for condition in about.conditions}
    base, *others = runs.values()
    verdicts = judge(base, others)
    cut = folder / LENGTHS
    lengths = json.loads(cut.read_text(encoding="utf-8")) if cut.is_file() else {}
    shown = one_a_recipe(verdicts)
    section = None
    if about.overview:
        short = dict(about.short)
        for verdict in shown:
            for seed in seeds_of(verdict.adapter, about.short):
                short.setdefault(verdict.adapter, short[seed])
        section = Section(about.title, about.overview, shown, short, lengths)
    # More curves than a few hide each other; the tables have every condition.
    drawn = [v for v in verdicts if not v.seeds and v.adapter in (about.drawn or runs)]
    drawings = []
    for drawing in draw_all(Scene(base, drawn)):
        file = f"{name}-{drawing.stem}.svg"
        figures[file] = drawing.svg
        first = drawing.stem in about.first
        drawings.append({"file": file, "caption": drawing.caption, "first": first})
    searched = search.read(folder / search.FILE) if (folder / search.FILE).is_file() else []
    if searched:
        drawing = search.draw(f"{name}-search", searched)
        figures[f"{drawing.stem}.svg"] = drawing.svg
        drawings.append({"file": f"{drawing.stem}.svg", "caption": drawing.caption, "first": True})
    return {
        "name": name,
        "about": about,
        "section": section,
        "asked": section.asked() if section else "",
        "rows": table(section) if section else [],
        "scores": _side_by_side(shown),
        "keys": _keys(runs),
        "lengths": _lengths({v.adapter: lengths[v.adapter] for v in shown if v.adapter in lengths}),
        "texts": [tables.markdown(verdict) for verdict in verdicts],
        "contrasts": [_contrast(runs[a], runs[b]) for a, b in about.contrasts],
        "drawings": drawings,
        "provenance": {run.label: run.provenance for run in (base, *others)},
        "commands": _commands([base, *others]),
        "searched": search.table(searched) if searched else [],
        "logs": [log for name in runs if (log := _log(folder / name / "log.jsonl"))],
    }


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, of which the first row is the heading."""
    heading, *others = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([heading, "|" + "---|" * len(rows[0]), *others])


def _side_by_side(verdicts: Sequence[Verdict]) -> list[tuple[str, ...]]:
    """Return a heading and a row a task: what the base scores, and how far each condition is off.

    Documents and base's score are those of the first condition that has the task.
    """
    compared = [{row.name: row for row in tables.readable(verdict.rows)} for verdict in verdicts]
    table = [("task", "docs", "base", *(verdict.adapter for verdict in verdicts))]
    for name in dict.fromkeys(name for rows in compared for name in rows):
        found = [rows.get(name) for rows in compared]
        first = next(row for row in found if row is not None)
        indent = "&nbsp;&nbsp;" if first.member_of else ""
        documents = first.difference.documents
        changes = [_change(row, documents) if row else "" for row in found]
        table.append((indent + name, str(documents), f"{first.difference.base:.3f}", *changes))
    return table


def _change(row: Comparison, documents: int) -> str:
    d = row.difference
    star = " *" if d.low > 0 or d.high < 0 else ""
    others = "" if d.documents == documents else f" (of {d.documents})"
    return f"{tables.points(d.difference)}{star}{others}"


def _keys(runs: Mapping[str, Run]) -> list[tuple[str, ...]]:
    """Return a heading and a row a task: shares of answers with the right value, right place.

    Exact match asks for both. Conditions without the task have an empty cell; one of other
    documents than the base's says how many.
    """
    names = [name for run in runs.values() for name in run.tasks if name.startswith("kv_")]
    table = [("task", *runs)]
    for name in dict.fromkeys(names):
        rows = [
            [sample.row() for sample in run.tasks[name].samples] if name in run.tasks else []
            for run in runs.values()
        ]
        if all(key in row for of_run in rows for row in of_run for key in PARTS_OF_A_KEY):
            table.append((name, *(_shares(of_run, len(rows[0])) for of_run in rows)))
    return table if len(table) > 1 else []


def _shares(rows: Sequence[Mapping[str, Any]], documents: int) -> str:
    if not rows:
        return ""
    shares = " / ".join(f"{fmean(row[key] for row in rows):.2f}" for key in PARTS_OF_A_KEY)
    return shares if len(rows) == documents else f"{shares} (of {len(rows)})"


def _lengths(found: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a table of MDQA's changes with answers cut to equal length, see by_length.py."""
    if not found:
        return None
    rows = []
    for number, row in enumerate(next(iter(found.values()))["rows"]):
        cut = [entry["rows"][number] for entry in found.values()]
        changes = [interval(c["change"], c["low"], c["high"]) for c in cut]
        rows.append((str(row["words"] or "all"), f"{row['base']:.3f}", *changes))
    heading = ("words", "base", *found)
    # Of the questions that a condition answered: not every one answered all.
    bases = sorted({f"{entry['words'][0]:g}" for entry in found.values()})
    others = [f"{entry['words'][1]:g} of {name}" for name, entry in found.items()]
    medians = ", ".join([f"{' or '.join(bases)} of the base", *others])
    return {"table": [heading, *rows], "medians": medians}


def _contrast(one: Run, other: Run) -> dict[str, str]:
    """Return the table of two conditions, one against the other, and what it leaves open."""
    (verdict,) = judge(one, [other])
    # What one of the two was not asked, a warning, is no remark on the other.
    notes = "".join(f"- {line}\n" for line in tables.remarks(verdict))
    # The first run stands where a base would, and is none.
    notes = notes.replace("the base's", f"{one.label}'s").replace(
        "the adapter's", f"{other.label}'s"
    )
    table = tables.markdown_table(verdict.rows, one.label, other.label)
    return {"one": one.label, "other": other.label, "table": f"{table}\n{notes}"}


def _commands(runs: Iterable[Run]) -> list[str]:
    """Return the command lines of the evaluations, each once, as one types them."""
    lines = [line for run in runs for line in run.provenance.get("command", "").split(" | ")]
    return list(dict.fromkeys(re.sub(r"^\S*/", "", line) for line in lines if line))


def _log(file: Path) -> dict[str, Any] | None:
    """Return the held-out accuracies of a training, where its log was kept."""
    if not file.is_file():
        return None
    with jsonlines.open(file) as reader:
        evaluated = [entry for entry in reader if "eval_exact_match" in entry]
    kinds = other_kinds(evaluated[0])

    def shown(entry: dict[str, Any], names: Iterable[str]) -> list[str]:
        return [f"{entry[name]:.2f}" for name in names]

    return {
        "condition": file.parent.name,
        "kinds": kinds,
        "rows": [
            {
                "step": entry["step"],
                "all": f"{entry['eval_exact_match']:.2f}",
                "parts": shown(entry, (f"eval_exact_match_depth_{n + 1}" for n in range(PARTS))),
                "kinds": shown(entry, (f"eval_exact_match_{kind}" for kind in kinds)),
            }
            for entry in evaluated
        ],
    }


if __name__ == "__main__":
    console.run(app)
