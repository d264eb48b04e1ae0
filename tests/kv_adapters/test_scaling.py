"""Scaled adapters: on the line to the base, sound by the checks, and told from the original."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from kv_adapters.checks.files import file_checks
from kv_adapters.cli import app
from kv_adapters.scaling import scale_adapter
from kv_tasks.errors import EXIT_ERROR, AdapterError, UsageError
from kv_tasks.files import sha256_file
from kv_train.adapter import CONFIG, MANIFEST, WEIGHTS, adapter_checksum, read_manifest


def merged(base: Path, adapter: Path | None = None) -> dict[str, torch.Tensor]:
    """Return the weights of a model with its adapter added to them."""
    model: Any = AutoModelForCausalLM.from_pretrained(base)
    if adapter:
        model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    return dict(model.state_dict())


def assert_between(base: Path, adapter: Path, scaled: Path, by: float) -> None:
    plain, full, part = merged(base), merged(base, adapter), merged(base, scaled)
    moved = [name for name in plain if not torch.equal(plain[name], full[name])]
    assert moved
    for name in moved:
        wanted = plain[name] + by * (full[name] - plain[name])
        torch.testing.assert_close(part[name], wanted, rtol=1e-5, atol=1e-6)


def test_half_of_an_adapter_is_halfway_to_its_base(
    own_adapter: Path, tiny_base: Path, tmp_path: Path
) -> None:
    half = tmp_path / "half"
    done = CliRunner().invoke(app, ["scale", str(own_adapter), "--by", "0.5", "--out", str(half)])
    assert done.exit_code == 0, done.output
    assert_between(tiny_base, own_adapter, half, 0.5)
    assert [check for check in file_checks(half, tiny_base) if check.status != "ok"] == []


def test_the_copy_is_told_from_the_original(own_adapter: Path, tmp_path: Path) -> None:
    (own_adapter / "results.png").write_bytes(b"of the original")
    half = tmp_path / "half"
    scale_adapter(own_adapter, 0.5, half)
    assert adapter_checksum(half) != adapter_checksum(own_adapter)
    before, after = read_manifest(own_adapter), read_manifest(half)
    assert after.identity != before.identity
    assert (after.base, after.versions) == (before.base, before.versions)
    assert set(after.files) == set(before.files) - {"results.png"}
    alpha = json.loads((own_adapter / CONFIG).read_text())["lora_alpha"]
    card = (half / "README.md").read_text()
    assert f"`lora_alpha` is {alpha / 2:g}, where the training had {alpha:g}." in card
    assert card.count("# half\n") == 1
    assert "--lora-modules half=." in card
    assert "Not compared with its base yet" in card


def test_the_same_command_again_reuses_what_it_made(own_adapter: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    scale_adapter(own_adapter, 0.5, half)
    (half / "README.md").write_text("compared since")
    scale_adapter(own_adapter, 0.5, half)
    assert (half / "README.md").read_text() == "compared since"
    with pytest.raises(UsageError, match="is not empty"):
        scale_adapter(own_adapter, 0.25, half)
    for name in (WEIGHTS, MANIFEST):
        (half / name).write_bytes(b"cut")
        with pytest.raises(UsageError, match="is not empty"):
            scale_adapter(own_adapter, 0.5, half)


def test_scaling_twice_says_how_far_it_is_from_the_training(
    own_adapter: Path, tmp_path: Path
) -> None:
    scale_adapter(own_adapter, 0.5, tmp_path / "half")
    scale_adapter(tmp_path / "half", 0.5, tmp_path / "quarter")
    alpha = json.loads((own_adapter / CONFIG).read_text())["lora_alpha"]
    card = (tmp_path / "quarter" / "README.md").read_text()
    assert f"`lora_alpha` is {alpha / 4:g}, where the training had {alpha:g}." in card


def test_an_adapter_from_elsewhere_keeps_its_pattern_of_scales(
    tiny_base: Path, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    lora = LoraConfig(
        r=4, lora_alpha=8, use_rslora=True, target_modules=["q_proj", "v_proj"],
        alpha_pattern={"v_proj": 3}, init_lora_weights=False,
    )  # fmt: skip
    foreign, third = tmp_path / "foreign", tmp_path / "third"
    get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_base), lora).save_pretrained(foreign)
    scale_adapter(foreign, 0.3, third)
    assert {file.name for file in third.iterdir()} == {CONFIG, WEIGHTS}
    assert_between(tiny_base, foreign, third, 0.3)


def test_an_adapter_without_its_rows_is_scaled(own_adapter: Path, tmp_path: Path) -> None:
    (own_adapter / "data.jsonl").unlink()
    scale_adapter(own_adapter, 0.5, tmp_path / "out")
    assert "data.jsonl" not in read_manifest(tmp_path / "out").files


@pytest.mark.parametrize("by", ["0", "-1", "nan", "inf", "1e308"])
def test_a_factor_that_is_none_is_refused(own_adapter: Path, tmp_path: Path, by: str) -> None:
    with pytest.raises(UsageError, match="--by"):
        scale_adapter(own_adapter, float(by), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_changed_weights_are_not_called_whole(own_adapter: Path, tmp_path: Path) -> None:
    with (own_adapter / WEIGHTS).open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(AdapterError, match=f"changed or missing since it was trained: {WEIGHTS}"):
        scale_adapter(own_adapter, 0.5, tmp_path / "out")
    assert list(tmp_path.glob("*out*")) == []


@pytest.mark.parametrize(
    ("option", "value"), [("peft_type", "IA3"), ("use_dora", True), ("modules_to_save", ["norm"])]
)
def test_what_a_smaller_alpha_would_not_scale_is_refused(
    own_adapter: Path, tmp_path: Path, option: str, value: object
) -> None:
    (own_adapter / MANIFEST).unlink()
    config = json.loads((own_adapter / CONFIG).read_text())
    (own_adapter / CONFIG).write_text(json.dumps(config | {option: value}))
    with pytest.raises(AdapterError, match=f"expected plain LoRA.*{option}="):
        scale_adapter(own_adapter, 0.5, tmp_path / "out")


def test_whole_tensors_beside_the_matrices_are_refused(own_adapter: Path, tmp_path: Path) -> None:
    (own_adapter / MANIFEST).unlink()
    tensors = load_file(own_adapter / WEIGHTS)
    save_file(tensors | {"base_model.model.score.weight": torch.ones(2)}, own_adapter / WEIGHTS)
    with pytest.raises(AdapterError, match="LoRA matrices alone, found 1 other tensors.*score"):
        scale_adapter(own_adapter, 0.5, tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lora_alpha": True}, "lora_alpha is True; write a number"),
        ({"alpha_pattern": {"q_proj": "8"}}, r"alpha_pattern\[q_proj\] is '8'"),
        ({"r": None}, "expected readable"),
    ],
)
def test_a_config_that_cannot_be_scaled_is_named(
    own_adapter: Path, tmp_path: Path, change: dict[str, object], said: str
) -> None:
    (own_adapter / MANIFEST).unlink()
    config = json.loads((own_adapter / CONFIG).read_text())
    (own_adapter / CONFIG).write_text(json.dumps(config | change))
    with pytest.raises(AdapterError, match=said):
        scale_adapter(own_adapter, 0.5, tmp_path / "out")
    assert list(tmp_path.glob("*out*")) == []


def test_a_manifest_cannot_name_files_elsewhere(own_adapter: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim.txt"
    victim.write_text("keep")
    manifest = json.loads((own_adapter / MANIFEST).read_text())
    manifest["files"]["../victim.txt"] = sha256_file(victim)
    (own_adapter / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(AdapterError, match=r"lists '\.\./victim\.txt', which is not in its folder"):
        scale_adapter(own_adapter, 0.5, tmp_path / "sub" / "out")
    assert not (tmp_path / "sub").exists()


def test_a_card_that_its_owner_took_away_is_written_anew(own_adapter: Path, tmp_path: Path) -> None:
    (own_adapter / "README.md").unlink()
    scale_adapter(own_adapter, 0.5, tmp_path / "my half")
    card = (tmp_path / "my half" / "README.md").read_text()
    assert "--lora-modules 'my half=.'" in card
    assert "compare results/base 'results/my half'" in card


def test_a_folder_without_an_adapter_is_named(own_adapter: Path, tmp_path: Path) -> None:
    (own_adapter / MANIFEST).unlink()
    (own_adapter / CONFIG).unlink()
    with pytest.raises(AdapterError, match=rf"{CONFIG}: missing"):
        scale_adapter(own_adapter, 0.5, tmp_path / "out")
    with pytest.raises(AdapterError, match="no such adapter folder"):
        scale_adapter(tmp_path / "nowhere", 0.5, tmp_path / "out")


def test_what_a_user_has_is_left_alone(own_adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    arguments = ["scale", str(own_adapter), "--by", "0.5", "--out", str(tmp_path / "mine")]
    with pytest.raises(UsageError, match="--out .*mine: is not empty"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    "arguments",
    [["scale", "x", "--by", "0.5", "--out", "o"], ["verify", "x"], ["serve", "--base", "x"]],
)
def test_without_safetensors_the_extra_is_named(arguments: list[str]) -> None:
    code = "import sys; sys.modules['safetensors'] = None; from kv_adapters.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == EXIT_ERROR
    assert 'safetensors is not installed; run in the checkout: pip install ".[train]"' in " ".join(
        done.stderr.split()
    )
