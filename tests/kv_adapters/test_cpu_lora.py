"""The CPU kernels give what vLLM's own give, and leave rows of the base model alone."""

import importlib.util
from types import ModuleType

import pytest
import torch

from kv_adapters import cpu_lora

lora_ops = pytest.importorskip("vllm.lora.ops.torch_ops.lora_ops", reason="vLLM is not installed")
SLOTS, RANK, INPUT, OUTPUT, TOKENS = 3, 4, 10, 6, 7
KERNELS = ("bgmv_shrink", "bgmv_expand", "bgmv_expand_slice")


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def arguments(kernel: str, slots: torch.Tensor) -> tuple:
    width, depth = (RANK, INPUT) if kernel == "bgmv_shrink" else (OUTPUT, RANK)
    inputs = torch.randn(len(slots), depth).bfloat16()
    weights = torch.randn(SLOTS, 1, width, depth).bfloat16()
    output = torch.randn(len(slots), width + 3)
    extra = {"bgmv_shrink": (0.5,), "bgmv_expand": (True,), "bgmv_expand_slice": (2, OUTPUT, True)}
    return inputs, weights, output, slots, *extra[kernel]


def run(function: object, given: tuple) -> torch.Tensor:
    output = given[2].clone()
    function(*given[:2], output, *given[3:])  # type: ignore[operator]
    return output


@pytest.fixture(scope="module")
def vllms_own() -> ModuleType:
    """vLLM's kernels, read anew: an engine of an earlier test replaces them in this process."""
    spec = importlib.util.find_spec(lora_ops.__name__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("slots", [[1] * TOKENS, [0, 1, 2, 2, 0, 1, 1], [2]])
def test_equals_vllms_kernel(vllms_own: ModuleType, kernel: str, slots: list[int]) -> None:
    ours, theirs = getattr(cpu_lora, kernel), getattr(vllms_own, kernel)
    assert ours is not theirs
    given = arguments(kernel, torch.tensor(slots))
    torch.testing.assert_close(run(ours, given), run(theirs, given))


@pytest.mark.parametrize("kernel", KERNELS)
def test_base_rows_in_a_mixed_batch_get_no_adapter(kernel: str) -> None:
    given = arguments(kernel, torch.tensor([1, -1, 0, -1, 1, 1, -1]))
    result = run(getattr(cpu_lora, kernel), given)
    base = given[3] < 0
    expected = torch.zeros_like(result) if kernel == "bgmv_shrink" else given[2]
    width = RANK if kernel == "bgmv_shrink" else result.shape[1]
    assert torch.equal(result[base][:, :width], expected[base][:, :width])
    assert not torch.equal(result[~base][:, :width], expected[~base][:, :width])


def test_kernels_of_another_signature_are_left_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        pytest.skip("a GPU is there: the CPU kernels are not used")
    for name in KERNELS:
        monkeypatch.setattr(lora_ops, name, lambda somehow, different: None)
    changed = {name: getattr(lora_ops, name) for name in KERNELS}
    cpu_lora.register()
    assert {name: getattr(lora_ops, name) for name in KERNELS} == changed
    assert "left as it is" in caplog.text
