"""What a worker does when its engine dies, and what makes an evaluation another one."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kv_adapters.evaluation import worker
from kv_adapters.evaluation.models import find_models
from kv_adapters.evaluation.plan import Request, plan


class EngineDeadError(Exception):
    """What vLLM raises, by name."""


def request(base: Path, out: Path) -> Request:
    return Request(base=str(base), adapters=(), tasks=["one", "two", "three"], out=out)


def test_an_engine_that_died_is_started_anew_for_the_next_unit(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []

    def start(name: str, _: Any) -> str:
        started.append(name)
        return f"engine {len(started)}"

    def run(unit: Any, backend: str, *_: Any) -> None:
        if unit.task == "one":
            raise EngineDeadError("gone")
        raise ValueError(f"asked {backend}")

    monkeypatch.setattr(worker, "open_backend", start)
    monkeypatch.setattr(worker, "run_unit", run)
    asked = request(tiny_base, tmp_path)
    models = find_models(asked.base, (), "vllm")
    mine = worker.Worker(asked, models, object())
    reasons = [mine.run(unit).reason for unit in plan(asked, models)]
    assert reasons[0] == "EngineDeadError: gone"
    assert reasons[1:] == ["ValueError: asked engine 2"] * 2


def test_tasks_go_by_a_servers_context_where_it_is_shorter_than_the_models(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "open_backend", lambda *_: SimpleNamespace(context=512))
    asked = request(tiny_base, tmp_path)
    models = find_models(asked.base, (), "vllm")
    mine = worker.Worker(asked, models, worker.task_manager(models.base, asked))
    assert mine._tasks.metadata["max_length"] == 512
    assert "hellaswag" in mine._tasks.all_tasks


def test_the_harness_own_tasks_are_not_read_where_none_is_asked(
    tiny_base: Path, tmp_path: Path
) -> None:
    asked = replace(request(tiny_base, tmp_path), tasks=["mdqa_pos", "flenqa"])
    tasks = worker.task_manager(tiny_base, asked).all_tasks
    assert {"kv_simple_16dicts", "mdqa_pos_01", "flenqa"} <= set(tasks)
    assert "hellaswag" not in tasks


def test_another_chat_template_is_another_evaluation(tiny_base: Path, tmp_path: Path) -> None:
    other = shutil.copytree(tiny_base, tmp_path / "other")
    asked = request(tiny_base, tmp_path)
    (first, *_), (same, *_) = (
        plan(asked, find_models(str(b), (), "vllm")) for b in (tiny_base, other)
    )
    assert first.digest == same.digest
    (other / "chat_template.jinja").write_text("{{ messages }}")
    changed, *_ = plan(asked, find_models(str(other), (), "vllm"))
    assert changed.base_sha256 == first.base_sha256
    assert changed.digest != first.digest


def test_the_versions_that_compute_are_part_of_an_evaluation(
    tiny_base: Path, tmp_path: Path
) -> None:
    asked = request(tiny_base, tmp_path)
    unit, *_ = plan(asked, find_models(asked.base, (), "vllm"))
    assert any(version.startswith("transformers ") for version in unit.versions)
    assert json.dumps(unit.versions).count("torch") == 1
