"""Training from recipe to adapter folder: whole or not at all, and the same after a kill."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from kv_tasks.errors import DataError, ModelError, RunError
from kv_tasks.files import sha256_file
from kv_train.adapter import CONFIG, WEIGHTS, read_manifest
from kv_train.cli import app
from kv_train.models import base_checksum, resolve_model
from kv_train.recipe import load_recipe
from kv_train.run import run

LONG = ["training.epochs=8", "training.save_steps=1"]


def test_the_folder_is_what_peft_loads_and_says_where_it_came_from(
    tiny_adapter: Path, tiny_base: Path
) -> None:
    manifest = read_manifest(tiny_adapter)
    assert manifest.base.sha256 == base_checksum(tiny_base)
    assert {"recipe.yaml", "data.jsonl", "log.jsonl", "README.md"} < set(manifest.files)
    for name, digest in manifest.files.items():
        assert sha256_file(tiny_adapter / name) == digest
    config = json.loads((tiny_adapter / CONFIG).read_text())
    assert config["base_model_name_or_path"] == str(tiny_base)
    base = AutoModelForCausalLM.from_pretrained(tiny_base)
    ids = torch.arange(3, 40)[None]
    before = base(ids).logits
    after = PeftModel.from_pretrained(base, tiny_adapter)(ids).logits
    assert (after - before).abs().max() > 1e-3


def test_training_lowers_the_loss(tiny_adapter: Path) -> None:
    log = [json.loads(line) for line in (tiny_adapter / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == [1, 2, 3, 4]
    assert log[-1]["loss"] < log[0]["loss"] - 0.1


def test_the_same_recipe_gives_the_same_bytes(
    tiny_adapter: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    again = run(load_recipe(str(tiny_recipe)), tmp_path / "again")
    assert read_manifest(again) == read_manifest(tiny_adapter)


def test_a_killed_run_goes_on_and_ends_with_the_same_adapter(
    tiny_recipe: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    overrides = [argument for override in LONG for argument in ("--set", override)]
    command = [sys.executable, "-c", "from kv_train.cli import main; main()", "run"]
    command += [str(tiny_recipe), "--out", str(out), *overrides]
    work = out.with_name("killed.partial")
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        while not list(work.glob("checkpoint-[3-9]")) and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not out.exists()
    assert work.is_dir()
    subprocess.run(command, check=True, capture_output=True)
    straight = run(load_recipe(str(tiny_recipe), LONG), tmp_path / "straight")
    assert sha256_file(out / WEIGHTS) == sha256_file(straight / WEIGHTS)
    assert (out / "log.jsonl").read_text() == (straight / "log.jsonl").read_text()
    assert not work.exists()


def test_a_finished_adapter_is_reused_and_another_is_not_overwritten(
    own_adapter: Path, tiny_recipe: Path
) -> None:
    written = (own_adapter / WEIGHTS).stat().st_mtime_ns
    run(load_recipe(str(tiny_recipe)), own_adapter)
    assert (own_adapter / WEIGHTS).stat().st_mtime_ns == written
    other = load_recipe(str(tiny_recipe), ["data.seed=1"])
    with pytest.raises(RunError, match="--overwrite"):
        run(other, own_adapter)
    assert (own_adapter / WEIGHTS).stat().st_mtime_ns == written
    run(other, own_adapter, overwrite=True)
    assert (own_adapter / WEIGHTS).stat().st_mtime_ns != written


def test_a_file_of_prompts_trains_like_the_generator_that_wrote_it(
    tiny_adapter: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    source = tiny_adapter / "data.jsonl"
    made = run(load_recipe(str(tiny_recipe), [f"data.file={source}"]), tmp_path / "from-file")
    assert sha256_file(made / WEIGHTS) == sha256_file(tiny_adapter / WEIGHTS)


def test_a_broken_line_of_a_file_is_named_and_nothing_is_left(
    tiny_recipe: Path, tmp_path: Path
) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text('{"messages": []}\nnot json\n')
    recipe = load_recipe(str(tiny_recipe), [f"data.file={data}"])
    with pytest.raises(DataError, match=r"rows.jsonl, line 2: expected one JSON object"):
        run(recipe, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.partial").exists()


def test_a_base_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"'\./nowhere': no such folder"):
        resolve_model("./nowhere")
    with pytest.raises(ModelError, match="a folder without config.json"):
        resolve_model(str(tmp_path))


def test_rows_beyond_the_models_context_are_refused(tiny_recipe: Path, tmp_path: Path) -> None:
    recipe = load_recipe(str(tiny_recipe), ["data.dictionaries=80"])
    with pytest.raises(DataError, match="more than the 2048 of"):
        run(recipe, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_the_command_prints_one_line_for_a_mistake(tiny_recipe: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from kv_train.cli import main; main()", "run", str(tiny_recipe)]
        + ["--set", "training.epoch=1"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 3
    assert done.stderr.strip().startswith("error: ")
    assert "did you mean 'epochs'" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_help_answers_without_torch() -> None:
    assert CliRunner().invoke(app, ["run", "--help"]).exit_code == 0
    check = "import sys, kv_train.cli, kv_tasks.cli; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)


def test_steps_of_another_training_are_never_continued_or_deleted(
    tiny_recipe: Path, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "out.partial" / "checkpoint-3"
    checkpoint.mkdir(parents=True)
    (checkpoint.parent / "identity").write_text("another")
    with pytest.raises(RunError, match="unfinished training of another recipe"):
        run(load_recipe(str(tiny_recipe)), tmp_path / "out")
    assert checkpoint.is_dir()
