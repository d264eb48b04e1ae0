"""RESULTS.md is what its files say, and nothing else."""

import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_page_and_its_figures_are_those_that_the_kept_runs_give() -> None:
    place = ROOT / "results" / "write.py"
    spec = importlib.util.spec_from_file_location("results_write", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text, figures = module.render()
    assert (ROOT / "RESULTS.md").read_text() == text
    assert {file.name for file in (ROOT / "results" / "figures").iterdir()} == set(figures)


def test_no_kept_run_names_a_place_on_the_machine_that_made_it() -> None:
    absolute = re.compile(r"""["'= ]/\w+/\w+""")
    for file in (ROOT / "results").rglob("*.json*"):
        text = file.read_text()
        assert absolute.search(text) is None, file
        # How the harness writes /root and /home in names.
        assert "__root__" not in text, file
        assert "__home__" not in text, file
