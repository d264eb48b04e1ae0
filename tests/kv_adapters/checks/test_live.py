"""Faults made on purpose, served by real vLLM without a complaint, and caught."""

import json
import shutil
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from kv_adapters.checks import engine, verify
from kv_adapters.checks.check import Check
from kv_adapters.checks.files import file_checks
from kv_adapters.checks.live import live_checks
from kv_adapters.checks.probes import probes, reference
from kv_adapters.cli import app
from kv_train.adapter import WEIGHTS

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def llm(served_base: Path, served_adapter: Path) -> Iterator[Any]:
    """One engine for all adapters of these tests."""
    started = engine.start(served_base, served_adapter, probes(served_base))
    yield started
    engine.stop(started)


@pytest.fixture
def judge(llm: Any, served_base: Path, tmp_path: Path) -> Callable[[Path], dict[str, Check]]:
    """Return a function that runs the live checks on an adapter, whatever its files say."""

    def run(adapter: Path) -> dict[str, Check]:
        prompts = probes(served_base)
        (tmp_path / "scratch").mkdir()
        served = engine.measure(llm, adapter, prompts, tmp_path / "scratch")
        checks = live_checks(reference(served_base, adapter, prompts), served)
        return {check.name: check for check in checks}

    return run


@pytest.fixture
def own(served_adapter: Path, tmp_path: Path) -> Path:
    """A copy to break, under a name of its own."""
    return Path(shutil.copytree(served_adapter, tmp_path / f"broken-{tmp_path.name}"))


def failed(checks: dict[str, Check]) -> set[str]:
    return {name for name, check in checks.items() if check.status == "failed"}


def rewrite(adapter: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    save_file(change(load_file(adapter / WEIGHTS)), adapter / WEIGHTS)


def test_a_sound_adapter_passes_on_prompts_of_three_lengths(
    judge: Callable[[Path], dict[str, Check]], served_adapter: Path
) -> None:
    checks = judge(served_adapter)
    assert not failed(checks)
    assert set(checks) == {
        "base agrees", "adapter differs", "adapter agrees", "base unmixed", "change served",
    }  # fmt: skip
    assert checks["base agrees"].found.partition("on prompts of")[2].count(",") == 2


def test_a_b_of_zeros_is_served_as_the_base_and_caught(
    judge: Callable[[Path], dict[str, Check]], own: Path
) -> None:
    engine.zero_b(own / WEIGHTS)
    assert failed(judge(own)) == {"adapter differs"}


def test_a_wrong_prefix_is_served_as_the_base_and_caught(
    judge: Callable[[Path], dict[str, Check]], own: Path
) -> None:
    rewrite(own, lambda w: {name.replace("model.layers", "net.layers"): w[name] for name in w})
    checks = judge(own)
    assert "adapter differs" in failed(checks)
    assert checks["adapter differs"].found == "0.0000"


def test_weights_that_vllm_reads_otherwise_than_peft_are_caught(
    judge: Callable[[Path], dict[str, Check]], own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = engine.measure

    def of_another(llm: Any, adapter: Path, prompts: Any, scratch: Path) -> Any:
        other = shutil.copytree(adapter, adapter.with_name("other"))
        rewrite(other, lambda w: {name: 0.5 * part for name, part in w.items()})
        return plain(llm, other, prompts, scratch)

    monkeypatch.setattr(engine, "measure", of_another)
    assert failed(judge(own)) == {"adapter agrees"}


@pytest.mark.parametrize("known_by", ["number", "name"])
def test_weights_swapped_at_the_same_path_are_caught_where_the_engine_keeps_the_old(
    judge: Callable[[Path], dict[str, Check]],
    own: Path,
    monkeypatch: pytest.MonkeyPatch,
    known_by: str,
) -> None:
    """By one number vLLM keeps the weights, by one name the key-values of its prefix cache."""

    by_content = engine.lora_request

    def by_path(adapter: Path) -> Any:
        request = by_content(adapter)
        request.lora_name = str(adapter)
        if known_by == "number":
            request.lora_int_id = int(sha256(bytes(adapter)).hexdigest()[:7], 16)
        return request

    monkeypatch.setattr(engine, "lora_request", by_path)
    assert failed(judge(own)) == {"change served"}


def test_base_rows_that_get_the_adapters_weights_are_caught(
    served_base: Path, served_adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """vLLM's own CPU kernels, with no empty slot behind the adapter's."""
    arguments = engine.engine_arguments
    monkeypatch.setattr(
        engine, "engine_arguments", lambda *a, **k: {**arguments(*a, **k), "max_loras": 1}
    )
    monkeypatch.setenv("VLLM_PLUGINS", "")
    prompts = probes(served_base)
    llm = engine.start(served_base, served_adapter, prompts)
    try:
        served = engine.measure(llm, served_adapter, prompts, tmp_path)
    finally:
        engine.stop(llm)
    checks = live_checks(reference(served_base, served_adapter, prompts), served)
    assert "base unmixed" in failed({check.name: check for check in checks})


@pytest.mark.parametrize("share", [None, 0.4])
def test_a_share_of_a_gpu_reaches_the_engine_and_only_where_given(
    served_base: Path, served_adapter: Path, share: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr("vllm.LLM", lambda **arguments: asked.append(arguments))
    engine.start(served_base, served_adapter, [[1, 2, 3]], share)
    assert asked[0].get("gpu_memory_utilization") == share


def test_a_foreign_base_of_other_shapes_is_caught_while_loading(
    served_adapter: Path, tiny_base: Path
) -> None:
    assert "targets" in {c.name for c in file_checks(served_adapter, tiny_base) if c.mend}
    (check,) = verify.ask_live(served_adapter, tiny_base)
    assert (check.name, check.status) == ("loads", "failed")
    assert "size mismatch" in check.found


def test_the_command_asks_live_finds_the_base_itself_and_writes_json(
    own: Path, served_base: Path, tmp_path: Path
) -> None:
    file = tmp_path / "checks.json"
    done = CliRunner().invoke(app, ["verify", str(own), "--json", str(file)])
    assert done.exit_code == 0, done.output
    found = json.loads(file.read_text())
    assert found["passed"] is True
    assert {"name": "adapter differs", "status": "ok"}.items() <= next(
        check for check in found["checks"] if check["name"] == "adapter differs"
    ).items()


def test_nothing_is_loaded_where_the_files_are_not_sound(own: Path) -> None:
    (own / "adapter_model.bin").write_bytes(b"\x80")
    checks = {check.name: check for check in verify.verify(own)}
    assert checks["no pickles"].status == "failed"
    assert checks["live"].status == "not checked"
    assert "loads" not in checks
