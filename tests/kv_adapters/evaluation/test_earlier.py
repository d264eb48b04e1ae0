"""What is reused is what a comparison then reads."""

import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from kv_adapters.comparison.runs import load_run
from kv_adapters.evaluation.earlier import finished, renew
from kv_adapters.evaluation.evaluate import evaluate
from kv_adapters.evaluation.models import find_models
from kv_adapters.evaluation.plan import Request, Unit, plan
from kv_tasks.errors import RunError

TASK = "kv_simple_16dicts"


def asked(base: Path, out: Path, limit: int, **changes: Any) -> Request:
    settings: dict[str, Any] = {"tasks": [TASK], "backend": "hf", **changes}
    return Request(base=str(base), adapters=(), out=out, limit=limit, **settings)


def units(request: Request) -> list[Unit]:
    return plan(request, find_models(request.base, (), "hf"))


def written(folder: Path, date: str, digest: str, *tasks: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for task in tasks:
        (folder / f"samples_{task}_{date}.jsonl").write_text(f"{task} {digest}\n")
    file = folder / f"results_{date}.json"
    record = {"digest": digest}
    file.write_text(json.dumps({"configs": {task: {} for task in tasks}, "kv_adapters": record}))
    return file


def test_a_shorter_trial_in_between_is_not_compared_in_the_place_of_what_is_reused(
    tiny_base: Path, tmp_path: Path
) -> None:
    statuses = [
        outcome.status
        for limit in (3, 1, 3)
        for outcome in evaluate(asked(tiny_base, tmp_path, limit))
    ]
    assert statuses == ["done", "done", "reused"]
    assert len(load_run(tmp_path / "base").tasks[TASK].samples) == 3
    # Nothing is lost, and the trial can be asked for again.
    (again,) = evaluate(asked(tiny_base, tmp_path, 1))
    assert again.status == "reused"
    assert len(load_run(tmp_path / "base").tasks[TASK].samples) == 1


def test_what_is_the_newest_keeps_its_name(tiny_base: Path, tmp_path: Path) -> None:
    request = asked(tiny_base, tmp_path, 2)
    (unit,) = units(request)
    file = written(tmp_path / "base", "2026-01-02", unit.digest, TASK)
    written(tmp_path / "base", "2026-01-01", "of another", TASK)
    written(tmp_path / "base", "2026-01-03", "of another", "flenqa_synth_250")
    renew(tmp_path, [unit])
    assert file.is_file()
    assert len(list((tmp_path / "base").iterdir())) == 6


@pytest.mark.parametrize("links", [True, False])
def test_samples_get_the_date_of_their_results(
    links: bool, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:
        monkeypatch.setattr("os.link", Mock(side_effect=OSError(95, "Operation not supported")))
    request = asked(tiny_base, tmp_path, 2)
    (unit,) = units(request)
    file = written(tmp_path / "base", "2026-01-01", unit.digest, TASK, "member")
    written(tmp_path / "base", "2026-01-03", "of another", "member")
    renew(tmp_path, [unit])
    assert not file.exists()
    newest = max((tmp_path / "base").glob("results_*.json"))
    date = newest.stem.removeprefix("results_")
    for task in (TASK, "member"):
        text = (tmp_path / "base" / f"samples_{task}_{date}.jsonl").read_text()
        assert text == f"{task} {unit.digest}\n"
    assert len(list((tmp_path / "base").iterdir())) == 5
    assert finished(tmp_path, unit) is not None


def test_units_of_one_command_that_share_a_task_are_left_alone(
    tiny_base: Path, tmp_path: Path
) -> None:
    request = asked(tiny_base, tmp_path, 2, tasks=[TASK, "kv_simple_32dicts"])
    one, two = units(request)
    first = written(tmp_path / "base", "2026-01-01", one.digest, "shared")
    second = written(tmp_path / "base", "2026-01-02", two.digest, "shared")
    renew(tmp_path, [one, two])
    assert first.is_file()
    assert second.is_file()


def test_results_that_cannot_be_read_are_named(tiny_base: Path, tmp_path: Path) -> None:
    (unit,) = units(asked(tiny_base, tmp_path, 2))
    written(tmp_path / "base", "2026-01-01", "x", TASK).write_text("{")
    with pytest.raises(RunError, match=r"results_2026-01-01\.json: not JSON"):
        finished(tmp_path, unit)
