"""Write RESULTS.md and its figures from the runs kept in this folder.

    python results/write.py          # or: make results

Nothing here is typed in by hand but what a condition is (conditions.yaml): every number is computed
from the harness's own files by ``kv_adapters.comparison``.
"""

from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from kv_adapters.comparison import tables
from kv_adapters.comparison.runs import load_run
from kv_adapters.comparison.verdict import judge
from kv_adapters.reports.figures import draw_all
from kv_adapters.reports.figures.scene import Scene
from kv_tasks.files import atomic_path, write_text

HERE = Path(__file__).resolve().parent
FIGURES = HERE / "figures"


def main() -> None:
    """Write the page."""
    described = yaml.safe_load((HERE / "conditions.yaml").read_text(encoding="utf-8"))
    environment = Environment(
        loader=FileSystemLoader(HERE), undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, autoescape=False,
    )  # fmt: skip
    models = [_model(name, entry) for name, entry in described.items()]
    text = environment.get_template("RESULTS.md.j2").render(models=models)
    write_text(HERE.parent / "RESULTS.md", text)


def _model(name: str, entry: dict[str, Any]) -> dict[str, Any]:
    """Return what the page says of one model: verdicts, tables, and its figures' names."""
    folder = HERE / name
    base, *others = (load_run(folder / condition) for condition in entry["conditions"])
    verdicts = judge(base, others)
    drawings = []
    for drawing in draw_all(Scene(base, [v for v in verdicts if not v.seeds], published=True)):
        stem = f"{name}-{drawing.stem}"
        with atomic_path(FIGURES / f"{stem}.svg") as draft:
            draft.write_bytes(drawing.svg)
        drawings.append({"file": f"results/figures/{stem}.svg", "caption": drawing.caption})
    return {
        "name": name,
        "title": entry["title"],
        "conditions": entry["conditions"],
        "texts": [tables.markdown(verdict) for verdict in verdicts],
        "drawings": drawings,
        "provenance": {run.label: run.provenance for run in (base, *others)},
    }


if __name__ == "__main__":
    main()
