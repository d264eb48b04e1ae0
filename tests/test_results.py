"""RESULTS.md is what its files say, and nothing else."""

import importlib.util
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kv_adapters.comparison.verdict import Verdict
from kv_tasks.errors import RunError

ROOT = Path(__file__).resolve().parents[1]


def script(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(
        f"results_{name}", ROOT / "results" / f"{name}.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_and_their_figures_are_those_that_the_kept_runs_give() -> None:
    pages, figures = script("write").render()
    assert pages == {place: (ROOT / place).read_text() for place in pages}
    assert {file.name for file in (ROOT / "results" / "figures").iterdir()} == set(figures)


@pytest.mark.usefixtures("shared_data")
@pytest.mark.parametrize("model", ["smollm2-135m", "smollm2-135m-twenty", "smollm2-135m-gpu"])
def test_answers_cut_to_equal_length_score_as_the_page_says(model: str) -> None:
    folder = ROOT / "results" / model
    kept = json.loads((folder / "by-length.json").read_text())
    # Invented documents, and conditions that were asked nothing else, have no published answers.
    asked = {file.parent.name for file in folder.glob("*/samples_mdqa_pos_[0-9]*")}
    recipes = {name for name in kept if name.endswith(" seeds")}
    assert set(kept) - recipes == asked - {"base"}
    assert script("by_length").by_length(folder) == kept


def test_every_study_is_on_the_page() -> None:
    listed = [name for names in script("write").GROUPS.values() for name in names]
    assert sorted(listed) == sorted(
        file.parent.name for file in (ROOT / "results").glob("*/about.yaml")
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title: t\nfound: f\nconditions: {base: {waht: x}}\n", "conditions.base.waht"),
        ("title: t\nconditions: {}\n", "found"),
        ("title: [", "while parsing"),
        (None, "No such file"),
    ],
)
def test_a_study_that_is_not_described_is_named(
    text: str | None, message: str, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "about.yaml").write_text(text)
    with pytest.raises(RunError, match="about.yaml: ") as caught:
        script("study").load_study(tmp_path)
    assert message in str(caught.value)


@dataclass
class Documents:
    documents: int


@dataclass
class Compared:
    name: str
    of: str
    difference: Documents


def test_a_recipe_s_seeds_are_one_row_and_what_one_alone_was_asked_stays() -> None:
    def verdict(name: str, *rows: str, seeds: tuple[Any, ...] = ()) -> Verdict:
        asked = Documents(10 * max(1, len(seeds)))
        made: Any = tuple(Compared(row, name, asked) for row in rows)
        return Verdict(name, "no evidence", "", made, (), seeds=seeds)

    verdicts = [
        verdict("other", "mdqa"),
        verdict("keys-seed0", "mdqa", "hellaswag"),
        verdict("keys-seed1", "mdqa"),
        verdict("last", "mdqa"),
        verdict("keys-seedling", "mdqa"),
        verdict("keys, 2 seeds", "mdqa", seeds=(object(), object())),
    ]
    found: list[Any] = script("overview").one_a_recipe(verdicts)
    assert [v.adapter for v in found] == ["other", "keys, 2 seeds", "last", "keys-seedling"]
    rows = [(row.name, row.of, row.difference.documents) for row in found[1].rows]
    assert rows == [("mdqa", "keys, 2 seeds", 10), ("hellaswag", "keys-seed0", 10)]


def test_no_kept_run_names_a_place_on_the_machine_that_made_it() -> None:
    absolute = re.compile(r"""["'= ]/\w+/\w+""")
    for file in (ROOT / "results").rglob("*.json*"):
        text = file.read_text()
        assert absolute.search(text) is None, file
        # How the harness writes /root and /home in names.
        assert "__root__" not in text, file
        assert "__home__" not in text, file


@pytest.mark.parametrize(
    ("name", "message"),
    [("slim.py", "absent: no such folder"), ("by_length.py", "absent/base: no such folder")],
)
def test_a_run_that_is_not_there_is_named_and_nothing_is_kept(
    tmp_path: Path, name: str, message: str
) -> None:
    places = ["absent", "out"] if name == "slim.py" else ["absent"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "results" / name), *places],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert done.stderr.startswith(f"error: {message}")
    assert not list(tmp_path.iterdir())
