"""Each fault that would be served silently is caught from the files alone."""

import json
import re
from importlib import metadata
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from kv_adapters import engine_settings
from kv_adapters.checks import verify as verifying
from kv_adapters.checks.check import Check, Status
from kv_adapters.checks.files import file_checks, refuse_broken
from kv_adapters.checks.table import as_json
from kv_adapters.checks.verify import verify
from kv_adapters.cli import app
from kv_tasks.errors import AdapterError, UsageError
from kv_train.adapter import CONFIG, MANIFEST, WEIGHTS


def failed(adapter: Path, base: Path) -> dict[str, str]:
    return {c.name: c.found for c in file_checks(adapter, base) if c.status == "failed"}


def rewrite(adapter: Path, change: object) -> None:
    """Change the weights and forget the manifest, as a foreign adapter would come."""
    weights = load_file(adapter / WEIGHTS)
    save_file(change(weights), adapter / WEIGHTS)  # type: ignore[operator]
    (adapter / MANIFEST).unlink()


def test_a_trained_adapter_passes_every_check(tiny_adapter: Path, tiny_base: Path) -> None:
    checks = file_checks(tiny_adapter, tiny_base)
    assert {check.status for check in checks} == {"ok"}
    assert {check.name for check in checks} >= {
        "no pickles", "files", "checksums", "options", "rank", "targets", "effect", "base",
    }  # fmt: skip


def test_an_adapter_whose_b_is_zero_is_caught(own_adapter: Path, tiny_base: Path) -> None:
    rewrite(own_adapter, lambda w: {k: v * (0 if "lora_B" in k else 1) for k, v in w.items()})
    assert "0 of 8" in failed(own_adapter, tiny_base)["effect"]


def test_an_adapter_whose_a_is_zero_where_its_b_is_not_is_caught(
    own_adapter: Path, tiny_base: Path
) -> None:
    def crossed(name: str) -> bool:
        return ("lora_A" in name) == ("q_proj" in name or "v_proj" in name)

    rewrite(own_adapter, lambda w: {k: torch.ones_like(v) * crossed(k) for k, v in w.items()})
    assert failed(own_adapter, tiny_base)["effect"] == "0 of 8"


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_single_number_that_is_none_is_caught(
    own_adapter: Path, tiny_base: Path, number: float
) -> None:
    def broken(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        weights[next(name for name in weights if "lora_A" in name)][0, 0] = number
        return weights

    rewrite(own_adapter, broken)
    assert "NaN or infinity in 1 tensors" in failed(own_adapter, tiny_base)["effect"]


@pytest.mark.parametrize("part", ["A", "B"])
def test_a_matrix_of_another_rank_than_its_other_half_is_caught(
    own_adapter: Path, tiny_base: Path, part: str
) -> None:
    def cut(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        name = next(name for name in weights if f"lora_{part}" in name)
        weights[name] = (weights[name][:4] if part == "A" else weights[name][:, :4]).contiguous()
        return weights

    rewrite(own_adapter, cut)
    found = failed(own_adapter, tiny_base)["targets"]
    assert found.startswith("1 of 16 not")
    assert f"lora_{part}.weight" in found


def test_weights_of_another_rank_than_the_config_says_are_caught(
    own_adapter: Path, tiny_base: Path
) -> None:
    config = json.loads((own_adapter / CONFIG).read_text())
    (own_adapter / MANIFEST).unlink()
    for change, count in (({"r": 4}, 16), ({"rank_pattern": {"q_proj": 4}}, 4)):
        (own_adapter / CONFIG).write_text(json.dumps({**config, **change}))
        assert failed(own_adapter, tiny_base)["targets"].startswith(f"{count} of 16 not")
    # As PEFT reads a pattern: the end of a module's name.
    (own_adapter / CONFIG).write_text(json.dumps({**config, "r": 4, "rank_pattern": {".*": 8}}))
    assert failed(own_adapter, tiny_base) == {}
    (own_adapter / CONFIG).write_text(json.dumps({**config, "rank_pattern": {"*": 8}}))
    assert "targets" in failed(own_adapter, tiny_base)


def test_a_matrix_without_its_other_half_is_caught(own_adapter: Path, tiny_base: Path) -> None:
    rewrite(own_adapter, lambda w: dict(sorted(w.items())[1:]))
    assert "without its other half" in failed(own_adapter, tiny_base)["targets"]


def test_a_wrong_prefix_is_caught(own_adapter: Path, tiny_base: Path) -> None:
    rewrite(own_adapter, lambda w: {k.replace("model.model", "model.net"): v for k, v in w.items()})
    assert "16 of 16 not" in failed(own_adapter, tiny_base)["targets"]


def test_a_missing_prefix_is_caught(own_adapter: Path, tiny_base: Path) -> None:
    rewrite(own_adapter, lambda w: {k.removeprefix("base_model.model."): v for k, v in w.items()})
    assert failed(own_adapter, tiny_base)["targets"].startswith("16 of 16 not")


def test_matrices_that_lie_on_their_side_are_caught(own_adapter: Path, tiny_base: Path) -> None:
    rewrite(own_adapter, lambda w: {k: v.T.contiguous() for k, v in w.items()})
    assert failed(own_adapter, tiny_base)["targets"].startswith("16 of 16 not")


def test_a_tensor_of_another_shape_is_caught(own_adapter: Path, tiny_base: Path) -> None:
    rewrite(own_adapter, lambda w: {k: torch.ones(8, 8) for k in w})
    assert "targets" in failed(own_adapter, tiny_base)


def test_a_card_may_be_edited(own_adapter: Path, tiny_base: Path) -> None:
    with (own_adapter / "README.md").open("a") as card:
        card.write("\nLicence: MIT\n")
    (own_adapter / "results.png").write_bytes(b"drawn anew")
    assert failed(own_adapter, tiny_base) == {}


def test_an_adapter_is_verified_from_within_its_folder(
    own_adapter: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def ask(adapter: Path, *_: object) -> list[Check]:
        asked.append(adapter)
        return []

    monkeypatch.chdir(own_adapter)
    monkeypatch.setattr(verifying, "ask_live", ask)
    verify(Path(), str(tiny_base))
    # An engine is given a copy under the adapter's name, and knows it by that.
    assert [adapter.name for adapter in asked] == [own_adapter.name]


def test_no_engine_is_asked_of_a_broken_adapter(
    own_adapter: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifying, "ask_live", lambda *_: pytest.fail("an engine was asked"))
    (own_adapter / "x.pt").touch()
    last = verify(own_adapter, str(tiny_base))[-1]
    assert (last.name, last.status) == ("live", "not checked")


def test_changed_weights_are_caught_by_their_checksum(own_adapter: Path, tiny_base: Path) -> None:
    weights = load_file(own_adapter / WEIGHTS)
    save_file({k: v + 1 for k, v in weights.items()}, own_adapter / WEIGHTS)
    assert WEIGHTS in failed(own_adapter, tiny_base)["checksums"]


def test_rows_need_not_be_published_with_an_adapter(own_adapter: Path, tiny_base: Path) -> None:
    (own_adapter / "data.jsonl").unlink()
    assert failed(own_adapter, tiny_base) == {}
    (own_adapter / "held-out.jsonl").write_text("{}")
    assert failed(own_adapter, tiny_base) == {"checksums": "changed or missing: held-out.jsonl"}


def test_a_pickle_is_refused(own_adapter: Path, tiny_base: Path) -> None:
    (own_adapter / "adapter_model.bin").write_bytes(b"\x80")
    assert failed(own_adapter, tiny_base) == {"no pickles": "adapter_model.bin"}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("use_dora", True),
        ("bias", "all"),
        ("modules_to_save", ["lm_head"]),
        ("init_lora_weights", "pissa"),
        ("r", 1024),
    ],
)
def test_an_option_that_vllm_rejects_is_named(
    own_adapter: Path, tiny_base: Path, option: str, value: object
) -> None:
    config = json.loads((own_adapter / CONFIG).read_text())
    (own_adapter / CONFIG).write_text(json.dumps({**config, option: value}))
    found = failed(own_adapter, tiny_base)
    assert str(value) in found.get("options", "") + found.get("rank", "")


def test_the_base_is_known_by_its_checksum_not_by_its_path(
    own_adapter: Path, tiny_base: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.symlink_to(tiny_base)
    assert not failed(own_adapter, elsewhere)
    foreign = tmp_path / "foreign"
    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    torch.nn.init.ones_(model.lm_head.weight)
    model.save_pretrained(foreign)
    assert "base" in failed(own_adapter, foreign)
    with pytest.raises(AdapterError, match="base: expected .* found"):
        refuse_broken(own_adapter, foreign)


def test_an_unfinished_folder_is_named(tmp_path: Path, tiny_base: Path) -> None:
    (tmp_path / "half").mkdir()
    assert "no adapter_config.json" in failed(tmp_path / "half", tiny_base)["files"]
    with pytest.raises(AdapterError, match="no such adapter folder"):
        file_checks(tmp_path / "absent", tiny_base)


def test_a_folder_that_names_no_base_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    config = tmp_path / "adapter_config.json"
    for text, expected in (
        (None, f"{config}: missing; name a folder that PEFT wrote"),
        ("", f"{config}: cannot be read (Expecting value"),
        ("{}", f"{config}: names no base model; give --base"),
    ):
        if text is not None:
            config.write_text(text)
        with pytest.raises(AdapterError, match=re.escape(expected)):
            verify(tmp_path, live=False)


@pytest.mark.parametrize("kept", [0, 7, 200])
def test_weights_that_were_cut_are_a_failed_check_not_a_crash(
    own_adapter: Path, tiny_base: Path, kept: int
) -> None:
    weights = own_adapter / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:kept])
    assert {"checksums", "targets", "effect"} <= failed(own_adapter, tiny_base).keys()


def test_without_vllm_the_table_says_so(
    own_adapter: Path, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(engine_settings.metadata, "version", missing)
    file = tmp_path / "checks.json"
    arguments = ["verify", str(own_adapter), "--base", str(tiny_base), "--json", str(file)]
    assert CliRunner().invoke(app, arguments).exit_code == 1
    checks = {check["name"]: check for check in json.loads(file.read_text())["checks"]}
    assert checks["targets"]["status"] == "ok"
    assert "vLLM is not installed" in checks["live"]["found"]
    assert "--no-live" in checks["live"]["mend"]


def test_the_command_prints_the_table_and_exits_with_1_on_a_failure(
    own_adapter: Path, tiny_base: Path
) -> None:
    arguments = ["verify", str(own_adapter), "--base", str(tiny_base), "--no-live"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    (own_adapter / "x.pt").touch()
    assert CliRunner().invoke(app, arguments).exit_code == 1


def test_the_numbers_say_whether_every_check_passed() -> None:
    def passed(*statuses: Status) -> bool:
        checks = [Check("a", status, "", "") for status in statuses]
        return bool(json.loads(as_json(checks, Path("adapter")))["passed"])

    assert passed("ok", "not checked")
    assert not passed("ok", "failed")


def test_a_share_of_a_gpu_without_an_engine_is_refused(own_adapter: Path) -> None:
    arguments = ["verify", str(own_adapter), "--no-live", "--gpu-memory-utilization", "0.5"]
    with pytest.raises(UsageError, match="--gpu-memory-utilization: nothing is loaded"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
