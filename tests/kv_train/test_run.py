"""Training from recipe to adapter folder: whole or not at all, and the same after a kill."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, TrainerControl, TrainerState, TrainingArguments
from typer.testing import CliRunner

from kv_tasks.errors import (
    DataError,
    KVError,
    MissingPackageError,
    ModelError,
    RecipeError,
    RunError,
)
from kv_tasks.files import sha256_file
from kv_train import adapter
from kv_train.adapter import CONFIG, WEIGHTS, read_manifest
from kv_train.building import arguments, build
from kv_train.checkpoints import RefuseNaN
from kv_train.cli import app
from kv_train.models import base_checksum, resolve_model
from kv_train.prepare import refuse_shares
from kv_train.processes import _launched_alone
from kv_train.progress import ProgressLine
from kv_train.recipe_files import for_seeds, load_recipe
from kv_train.run import run

LONG = ["training.epochs=20", "training.save_steps=1"]


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


def log_of(adapter: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (adapter / "log.jsonl").read_text().splitlines()]


def test_training_lowers_the_loss(tiny_adapter: Path) -> None:
    log = [entry for entry in log_of(tiny_adapter) if "loss" in entry]
    assert [entry["step"] for entry in log] == [1, 2, 3, 4]
    assert log[-1]["loss"] < log[0]["loss"] - 0.1


def test_held_out_prompts_are_evaluated_before_between_and_after(
    tiny_recipe: Path, tmp_path: Path
) -> None:
    made = run(load_recipe(str(tiny_recipe), ["evaluation.steps=3"]), tmp_path / "out")
    evaluated = [entry for entry in log_of(made) if "eval_exact_match" in entry]
    assert [entry["step"] for entry in evaluated] == [0, 3, 4]
    assert evaluated[-1]["eval_loss"] < evaluated[0]["eval_loss"] - 0.1
    assert all(f"eval_exact_match_depth_{part}" in evaluated[0] for part in (1, 3, 5))
    trained = (made / "data.jsonl").read_text()
    for line in (made / "held-out.jsonl").read_text().splitlines():
        assert json.loads(line)["messages"][0]["content"] not in trained
    assert (made / "training.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_recipe_gives_the_same_bytes(
    tiny_adapter: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    again = run(load_recipe(str(tiny_recipe)), tmp_path / "again" / tiny_adapter.name)
    assert read_manifest(again) == read_manifest(tiny_adapter)


def test_a_run_killed_at_three_moments_ends_with_the_same_adapter(
    tiny_recipe: Path, tmp_path: Path
) -> None:
    """Dropout is on: the random state has to come back, too. One thread adds in one order."""
    overrides = [*LONG, "lora.dropout=0.1", "evaluation.steps=3"]
    out, straight = tmp_path / "killed", tmp_path / "straight" / "killed"
    command = [sys.executable, "-m", "kv_train", "run", str(tiny_recipe)]
    command += [argument for override in overrides for argument in ("--set", override)]
    work = out.with_name("killed.partial")
    moments = random.Random()
    alone = {"env": {**os.environ, "OMP_NUM_THREADS": "1"}, "stderr": subprocess.DEVNULL}
    for _ in range(3):
        begun = newest_checkpoint(work)
        with subprocess.Popen([*command, "--out", str(out)], **alone) as process:
            while newest_checkpoint(work) <= begun and process.poll() is None:
                time.sleep(0.005)
            time.sleep(moments.uniform(0, 0.4))
            process.send_signal(signal.SIGKILL)
        assert work.is_dir()
        assert not out.exists()
    for folder in (out, straight):
        subprocess.run([*command, "--out", str(folder)], check=True, **alone)
    assert read_manifest(out) == read_manifest(straight)
    assert not work.exists()


def test_a_run_killed_behind_its_last_step_trains_no_further(
    tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last checkpoint of one and a half epochs lies in the middle of one."""
    recipe = load_recipe(str(tiny_recipe), ["training.epochs=1.5", "evaluation.steps=4"])
    straight, out = tmp_path / "straight" / "killed", tmp_path / "killed"
    run(recipe, straight)

    def kill(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(adapter, "assemble", kill)
        run(recipe, out)
    assert newest_checkpoint(tmp_path / "killed.partial") == 6
    run(recipe, out)
    assert [entry["step"] for entry in log_of(out) if "loss" in entry] == [1, 2, 3, 4, 5, 6]
    assert read_manifest(out) == read_manifest(straight)


@pytest.mark.parametrize("damaged", ["adapter_model.safetensors", "optimizer.pt", "complete"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before_it(
    damaged: str, tiny_recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = load_recipe(str(tiny_recipe), ["training.save_steps=1"])
    straight, out = tmp_path / "straight" / "cut", tmp_path / "cut"
    run(recipe, straight)
    with pytest.MonkeyPatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(adapter, "assemble", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        run(recipe, out)
    work = tmp_path / "cut.partial"
    last = work / f"checkpoint-{newest_checkpoint(work)}"
    os.truncate(last / damaged, 0)
    # Rows of an attempt that lost its disk, too.
    os.truncate(work / "data.jsonl", 1000)
    run(recipe, out)
    assert f"{last.name}: damaged; going on" in capsys.readouterr().err.replace("\n", " ")
    assert read_manifest(out) == read_manifest(straight)


def newest_checkpoint(work: Path) -> int:
    return max(
        (int(mark.parent.name[11:]) for mark in work.glob("checkpoint-*/complete")), default=0
    )


@pytest.mark.parametrize("packs_per_batch", [1, 2])
def test_two_processes_train_the_adapter_of_one_and_go_on_where_it_ended(
    tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packs_per_batch: int
) -> None:
    """Nine packs need one or three empty ones; the sixth step lies within the second epoch."""
    changes = ["data.samples=18", "training.epochs=3", "training.save_steps=1"]
    changes += ["training.packs_per_step=4", f"training.packs_per_batch={packs_per_batch}"]
    recipe = load_recipe(str(tiny_recipe), changes)
    alone, out = run(recipe, tmp_path / "one"), tmp_path / "two"

    def kill(self: Any, args: Any, state: TrainerState, *_: Any, **rest: Any) -> None:
        if state.global_step == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(ProgressLine, "on_step_begin", kill, raising=False)
        run(recipe, out)
    assert newest_checkpoint(tmp_path / "two.partial") == 5
    launch = [str(Path(sys.executable).with_name("accelerate")), "launch", "--multi_gpu"]
    launch += ["--num_processes", "2", "--num_machines", "1", "--main_process_port", "0"]
    done = subprocess.run(
        [*launch, "-m", "kv_train", "run", str(tiny_recipe), "--out", str(out)]
        + [word for change in changes for word in ("--set", change)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "2 processes train together" in done.stderr
    two, one = load_file(out / WEIGHTS), load_file(alone / WEIGHTS)
    assert two.keys() == one.keys()
    for name, weights in one.items():
        torch.testing.assert_close(two[name], weights, rtol=1e-4, atol=2e-5)
    for ours, theirs in zip(log_of(out), log_of(alone), strict=True):
        for line in (ours, theirs):
            line.pop("epoch", None)  # an empty pack counts in it
        assert ours == pytest.approx(theirs, rel=1e-4)
    assert read_manifest(out).identity == read_manifest(alone).identity


def test_one_process_trains_on_one_gpu(
    tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trainer would take all that it sees, and multiply the batch."""
    monkeypatch.setattr(TrainingArguments, "n_gpu", property(lambda self: 4))
    recipe = load_recipe(str(tiny_recipe))
    assert arguments(recipe, 4, evaluated=True, work=tmp_path, processes=1)._n_gpu == 1


def test_a_step_that_processes_cannot_share_evenly_is_refused(tiny_recipe: Path) -> None:
    with pytest.raises(RecipeError, match="packs_per_step 2 is no multiple of the 3 packs"):
        refuse_shares(load_recipe(str(tiny_recipe)), processes=3)


def test_a_launcher_that_starts_one_process_of_several_is_named() -> None:
    environment = {"ACCELERATE_MIXED_PRECISION": "no", "MASTER_ADDR": "127.0.0.1"}
    assert _launched_alone(environment)
    assert not _launched_alone({**environment, "RANK": "0"})
    assert not _launched_alone({"MASTER_ADDR": "127.0.0.1"})


def test_three_seeds_are_one_command_and_equal_to_three(tiny_recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "kv"
    command = ["run", str(tiny_recipe), "--out", str(out), "--seeds", "1,2"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    alone = load_recipe(str(tiny_recipe), ["name=tiny-seed2", "data.seed=2", "training.seed=2"])
    straight = run(alone, tmp_path / "alone" / "kv-seed2")
    assert read_manifest(tmp_path / "kv-seed2") == read_manifest(straight)
    assert sha256_file(tmp_path / "kv-seed1" / WEIGHTS) != sha256_file(straight / WEIGHTS)


def test_the_model_of_one_seed_is_gone_when_the_next_is_loaded(
    tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []

    def watched(*arguments: Any) -> Any:
        assert not any(model() for model in made), "both would have to fit into the GPU"
        trainer = build(*arguments)
        made.append(weakref.ref(trainer.model))
        return trainer

    monkeypatch.setattr("kv_train.run.build", watched)
    recipe = load_recipe(str(tiny_recipe), ["training.precision=bf16"])
    for one, out in for_seeds(recipe, tmp_path / "kv", "1,2"):
        run(one, out)
    assert len(made) == 2


def test_seeds_that_are_no_numbers_are_refused(tiny_recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="--seeds 1,x: expected different whole numbers"):
        for_seeds(load_recipe(str(tiny_recipe)), tmp_path, "1,x")
    with pytest.raises(RecipeError, match="--seeds 1,1"):
        for_seeds(load_recipe(str(tiny_recipe)), tmp_path, "1,1")
    with pytest.raises(RecipeError, match="--seeds 0, 00"):
        for_seeds(load_recipe(str(tiny_recipe)), tmp_path, "0, 00")
    with pytest.raises(RecipeError, match="4294967296 is too large; .* at most 4294967295"):
        for_seeds(load_recipe(str(tiny_recipe)), tmp_path, "1,4294967296")


def test_a_loss_that_is_no_number_stops_the_training(tiny_recipe: Path, tmp_path: Path) -> None:
    recipe = load_recipe(str(tiny_recipe))
    # What the adapter adds is then beyond fp32 as soon as it is not zero.
    huge = recipe.model_copy(update={"lora": recipe.lora.model_copy(update={"alpha": 1e45})})
    with pytest.raises(RunError, match=r"loss is (nan|inf) at step \d; "):
        run(huge, tmp_path / "out")


@pytest.mark.parametrize("key", ["loss", "grad_norm", "eval_loss"])
def test_no_number_that_says_nothing_is_trained_on_or_saved(key: str, tmp_path: Path) -> None:
    state, control = TrainerState(global_step=7), TrainerControl()
    arguments = TrainingArguments(output_dir=str(tmp_path))
    RefuseNaN().on_log(arguments, state, control, logs={"loss": 1.0, "grad_norm": 0.5})
    with pytest.raises(RunError, match="is nan at step 7"):
        RefuseNaN().on_log(arguments, state, control, logs={"loss": 1.0, key: float("nan")})


def test_the_progress_line_ends_with_the_training_however_that_ends(
    tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[ProgressLine] = []
    monkeypatch.setattr(ProgressLine, "stop", lambda self: stopped.append(self))

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ProgressLine, "on_step_end", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(load_recipe(str(tiny_recipe)), tmp_path / "out")
    assert len(stopped) == 1


def test_losses_and_accuracies_go_to_tensorboard(tiny_recipe: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recipe = load_recipe(str(tiny_recipe), ["report_to=[tensorboard]"])
    made = run(recipe, tmp_path / "out")
    (events,) = (made / "runs").glob("*/events*")
    told = EventAccumulator(str(events)).Reload()
    logged = [entry["loss"] for entry in log_of(made) if "loss" in entry]
    assert [point.value for point in told.Scalars("train/loss")] == pytest.approx(logged)
    assert [point.step for point in told.Scalars("eval/exact_match")] == [0, 4]
    assert "runs" not in "".join(read_manifest(made).files)


def test_a_reporter_that_is_not_installed_is_named(
    tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    recipe = load_recipe(str(tiny_recipe), ["report_to=[trackio]"])
    with pytest.raises(MissingPackageError, match="trackio is not installed; run: pip install"):
        run(recipe, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_models_that_cannot_be_trained_are_refused_before_their_weights_are_read(
    tiny_base: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    def refused(**changes: Any) -> str:
        folder = tmp_path / "base"
        shutil.copytree(tiny_base, folder, dirs_exist_ok=True)
        config = json.loads((tiny_base / "config.json").read_text()) | changes
        (folder / "config.json").write_text(json.dumps(config))
        recipe = load_recipe(str(tiny_recipe), [f"model={folder}"])
        with pytest.raises(KVError) as caught:
            run(recipe, tmp_path / "out")
        assert not (tmp_path / "out.partial").exists()
        return str(caught.value)

    assert "softcap is not supported in training" in refused(model_type="gemma2")
    assert "its weights are quantized" in refused(quantization_config={"quant_method": "gptq"})
    assert "config.json: " in refused(model_type="of_tomorrow")
    assert "and the model has 61 embeddings" in refused(vocab_size=61)
    phi = refused(model_type="phi3")
    assert "lora.targets: " in phi
    assert "has no q_proj, k_proj, v_proj; its linear layers are down_proj, gate_up_proj" in phi


def test_a_base_that_lacks_a_weight_is_not_trained_on_random_numbers(
    tiny_base: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    base = shutil.copytree(tiny_base, tmp_path / "base")
    tensors = load_file(base / "model.safetensors")
    del tensors["model.layers.1.post_attention_layernorm.weight"]
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
    recipe = load_recipe(str(tiny_recipe), [f"model={base}"])
    with pytest.raises(ModelError, match=r"have no model\.layers\.1\.post_attention_layernorm"):
        run(recipe, tmp_path / "out")
    assert not (tmp_path / "out.partial").exists()


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


@pytest.mark.parametrize("model", ["smollm2-135m", "."])
def test_a_revision_of_what_is_not_on_the_hub_is_refused(
    tiny_recipe: Path, tmp_path: Path, model: str
) -> None:
    recipe = load_recipe(str(tiny_recipe), [f"model={model}", "revision=v2"])
    with pytest.raises(ModelError, match="revision 'v2': .* has none, not being on the hub"):
        run(recipe, tmp_path / "out")


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
