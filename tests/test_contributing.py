"""The example of CONTRIBUTING.md works as it is printed, and passes the tests that are there."""

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

from kv_tasks.paths import task_configs

from . import test_task_configs
from .kv_tasks import test_dictionaries, test_kv_windows

GUIDE = Path(__file__).resolve().parents[1] / "CONTRIBUTING.md"
MODULE = "kv_reverse_example"


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```", GUIDE.read_text("utf-8"), re.M | re.S)
    assert found, language
    return found[1]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    (tmp_path / f"{MODULE}.py").write_text(block("python"), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module(MODULE)
    sys.modules.pop(MODULE, None)


@pytest.fixture
def config(tmp_path: Path, module: ModuleType) -> Path:
    template = task_configs() / "kv_simple" / "_kv_simple_yaml"
    text = block("yaml").replace("../kv_simple/_kv_simple_yaml", str(template))
    file = tmp_path / "tasks" / "kv_reverse.yaml"
    file.parent.mkdir()
    file.write_text(text.replace("kv_tasks.kv_reverse", MODULE), encoding="utf-8")
    return file


def test_the_example_family_is_loaded_and_scored(config: Path) -> None:
    manager = TaskManager(include_path=str(config.parent), include_defaults=False)
    task = manager.load(["kv_reverse"])["tasks"]["kv_reverse"]
    assert len(task.eval_docs) == 20
    for doc in task.eval_docs:
        gold = doc["golds"][0]
        asked = f"Report the key that has the value {gold['value']} and the dictionary it is in."
        assert asked in task.doc_to_text(doc)
        assert task.process_results(doc, doc["answers"])["exact_match"] == 1.0
        wrong = doc["answers"][0].replace(f"is {gold['key'][0]} and", "is 1 and")
        assert task.process_results(doc, [wrong])["exact_match"] == 0.0


def test_the_example_passes_the_tests_of_every_task_file(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(test_task_configs.LEAVES, "kv_reverse", load_yaml(config))
    test_task_configs.test_a_leaf_states_what_the_harness_would_guess("kv_reverse")
    test_task_configs.test_length_position_and_count_in_a_name_are_those_of_the_metadata()
    test_task_configs.test_leaves_with_equal_data_have_equal_names()


def test_the_example_passes_the_tests_of_every_kind(module: ModuleType, tiny_folder: Path) -> None:
    kind = module.REVERSE
    test_dictionaries.test_an_answer_is_what_parse_reads_and_the_template_has_its_blanks(kind)
    test_kv_windows.test_a_window_is_kept_and_one_more_dictionary_would_hardly_fit(
        kind, 3000, tiny_folder
    )
