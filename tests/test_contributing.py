"""The example of CONTRIBUTING.md works as it is printed."""

import re
import sys
from pathlib import Path

import pytest
from lm_eval.tasks import TaskManager

from kv_tasks.paths import task_configs

GUIDE = Path(__file__).resolve().parents[1] / "CONTRIBUTING.md"


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```", GUIDE.read_text("utf-8"), re.M | re.S)
    assert found, language
    return found[1]


def test_the_example_family_is_loaded_and_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kv_reverse_example.py").write_text(block("python"), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    template = task_configs() / "kv_simple" / "_kv_simple_yaml"
    text = block("yaml").replace("../kv_simple/_kv_simple_yaml", str(template))
    text = text.replace("kv_tasks.kv_reverse", "kv_reverse_example")
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "kv_reverse.yaml").write_text(text, encoding="utf-8")
    try:
        manager = TaskManager(include_path=str(tmp_path / "tasks"), include_defaults=False)
        task = manager.load(["kv_reverse"])["tasks"]["kv_reverse"]
    finally:
        sys.modules.pop("kv_reverse_example", None)
    assert len(task.eval_docs) == 20
    for doc in task.eval_docs:
        gold = doc["golds"][0]
        asked = f"Report the key that has the value {gold['value']} and the dictionary it is in."
        assert asked in task.doc_to_text(doc)
        assert task.process_results(doc, doc["answers"])["exact_match"] == 1.0
        wrong = doc["answers"][0].replace(f"is {gold['key'][0]} and", "is 1 and")
        assert task.process_results(doc, [wrong])["exact_match"] == 0.0
