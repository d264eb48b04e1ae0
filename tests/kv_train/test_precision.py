"""bf16 is chosen where it is computed, never where it is only emulated."""

from pathlib import Path

import pytest
import torch

from kv_train import precision
from kv_train.recipe import Recipe, Training


def recipe(wanted: str) -> Recipe:
    return Recipe(name="r", model="m", training=Training(precision=wanted))


@pytest.fixture(params=["bf16", "fp32"])
def best(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(precision, "best_precision", lambda: request.param)
    return str(request.param)


def test_auto_is_what_this_machine_computes_faster(best: str) -> None:
    assert precision.settled(recipe("auto")).training.precision == best
    assert Recipe(name="r", model="m").training.precision == "auto"


@pytest.mark.parametrize("wanted", ["bf16", "fp32"])
def test_a_precision_that_was_asked_for_is_kept(best: str, wanted: str) -> None:
    assert precision.settled(recipe(wanted)) == recipe(wanted)


def test_emulated_bf16_is_warned_of(best: str, capsys: pytest.CaptureFixture[str]) -> None:
    for wanted in ("auto", "fp32"):
        precision.warn_of_emulation(recipe(wanted))
    assert capsys.readouterr().err == ""
    precision.warn_of_emulation(recipe("bf16"))
    assert ("only emulates it" in capsys.readouterr().err.replace("\n", " ")) == (best == "fp32")


def test_a_gpu_that_torch_cannot_use_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(precision, "_DEVICE", Path("/dev/null"))
    precision.warn_of_idle_gpu()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    precision.warn_of_idle_gpu()
    assert capsys.readouterr().err.count("cannot use this machine's GPU") == 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    precision.warn_of_idle_gpu()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(precision, "_DEVICE", Path("/dev/none"))
    precision.warn_of_idle_gpu()
    assert capsys.readouterr().err == ""


def test_the_faster_precision_is_the_faster_one() -> None:
    if torch.cuda.is_available():
        pytest.skip("a GPU is there")
    found, capabilities = precision.best_precision(), torch.cpu.get_capabilities()
    if capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"):
        assert found == "bf16"
    elif capabilities["architecture"] == "x86_64" and not capabilities.get("avx512_bw"):
        assert found == "fp32"
    # Of other processors it is not known here.
    assert found in precision.DTYPES
