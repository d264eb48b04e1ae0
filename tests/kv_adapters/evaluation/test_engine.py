"""Real vLLM with the demo model: one engine, base and adapter, plain harness and ours."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import lm_eval
import pytest

from kv_adapters.engine_settings import cpu_dtype

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

TASKS = ("kv_simple_16dicts", "mdqa_pos_synth_5docs")
LEAVES = (
    "kv_simple_16dicts",
    "mdqa_pos_synth_5docs_01",
    "mdqa_pos_synth_5docs_03",
    "mdqa_pos_synth_5docs_05",
)
LIMIT = 2


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of this environment as a user would."""
    bin_folder = Path(sys.executable).parent
    return subprocess.run(
        [str(bin_folder / arguments[0]), *arguments[1:]],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory, demo_model: Path) -> Path:
    """A few steps on the demo model: enough to teach it the answer's form."""
    out = tmp_path_factory.mktemp("adapters") / "short"
    overrides = ["data.samples=64", "data.dictionaries=8", "data.questions_per_context=8"]
    overrides += ["mix=[]", "evaluation.steps=0", "training.learning_rate=2e-3"]
    overrides += ["training.packs_per_step=1", "data.template=true"]
    arguments = [part for override in overrides for part in ("--set", override)]
    done = run("kv-train", "run", "smollm2-135m-1k", "--out", str(out), *arguments)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, adapter: Path) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("results")
    done = run(
        "kv-adapters", "eval", "--base", "smollm2-135m", "--adapter", str(adapter),
        "--tasks", ",".join(TASKS), "--limit", str(LIMIT), "--out", str(out),
        TQDM_DISABLE="1",  # vLLM alone would divide by zero
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out, done.stderr


def rows(folder: Path, task: str) -> list[dict[str, Any]]:
    (file,) = folder.glob(f"samples_{task}_*.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines()]


def answers(folder: Path, task: str) -> list[str]:
    return [row["resps"][0][0] for row in rows(folder, task)]


def test_one_engine_start_serves_base_and_adapter(finished: tuple[Path, str]) -> None:
    out, log = finished
    assert log.count("starting vllm") == 1
    for label in ("base", "short"):
        assert len(list((out / label).glob("results_*.json"))) == len(TASKS)
        for leaf in LEAVES:
            assert len(rows(out / label, leaf)) == LIMIT


def test_the_adapter_answers_in_the_template_and_the_base_does_not(
    finished: tuple[Path, str],
) -> None:
    out, _ = finished
    adapted = answers(out / "short", "kv_simple_16dicts")
    base = answers(out / "base", "kv_simple_16dicts")
    assert all("and it is in Dictionary [" in answer for answer in adapted)
    assert base != adapted


def test_vllm_and_peft_agree(finished: tuple[Path, str], adapter: Path, tmp_path: Path) -> None:
    """The same prompts through transformers and PEFT; rounding may turn a digit."""
    done = run(
        "kv-adapters", "eval", "--base", "smollm2-135m", "--adapter", str(adapter),
        "--tasks", "kv_simple_16dicts", "--limit", str(LIMIT), "--backend", "hf",
        "--out", str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ours, theirs = finished[0] / "short", tmp_path / "short"
    task = "kv_simple_16dicts"
    assert [r["prompt_hash"] for r in rows(ours, task)] == [
        r["prompt_hash"] for r in rows(theirs, task)
    ]
    sentences = zip(answers(ours, task), answers(theirs, task), strict=True)
    shared = [one.split(" is ")[0] == other.split(" is ")[0] for one, other in sentences]
    assert all(shared)


def test_plain_lm_eval_finds_the_registered_tasks(demo_model: Path, tmp_path: Path) -> None:
    """In a harness of its own: other tests read the installed one at the same time."""
    shutil.copytree(Path(lm_eval.__file__).parent, tmp_path / "site" / "lm_eval")
    own = {"PYTHONPATH": str(tmp_path / "site")}
    assert run("kv-tasks", "register", **own).stdout.startswith(str(tmp_path / "site"))
    done = run(
        "lm_eval", "--tasks", "mdqa_pos_synth_5docs_01", "--limit", "2", "--model", "hf",
        "--model_args", f"pretrained={demo_model},dtype={cpu_dtype()}", "--apply_chat_template",
        "--output_path", str(tmp_path / "out"), "--log_samples", "--batch_size", "2", **own,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "best_subspan_em" in done.stdout
    assert len(list(tmp_path.rglob("samples_mdqa_pos_synth_5docs_01_*.jsonl"))) == 1
