"""Estimates against facts: published sizes, counted operations, tensors that are really kept."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    Olmo2Config,
    PretrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from kv_train.architecture import architecture, meta_model
from kv_train.attention import NAME, visible
from kv_train.check import machine, probe
from kv_train.check.estimate import (
    Memory,
    attention_pairs,
    forward_flops,
    layer_bytes,
    training_flops,
    training_memory,
)
from kv_train.packing import Collator, Pack
from kv_train.precision import settled
from kv_train.recipe import Recipe
from kv_train.refusal import refusal
from kv_train.tokens import IGNORED
from kv_train.trainer import answer_loss

SHAPE = {
    "vocab_size": 1000,
    "hidden_size": 128,
    "intermediate_size": 320,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
}
LLAMA_8B = LlamaConfig(
    vocab_size=128_256,
    hidden_size=4096,
    intermediate_size=14_336,
    num_hidden_layers=32,
    num_attention_heads=32,
    num_key_value_heads=8,
)
QWEN_7B = Qwen2Config(
    vocab_size=152_064,
    hidden_size=3584,
    intermediate_size=18_944,
    num_hidden_layers=28,
    num_attention_heads=28,
    num_key_value_heads=4,
)
# As their model cards on the hub say: Llama-3.1-8B, Mistral-7B-v0.1, Qwen2.5-7B.
PUBLISHED = [
    (LLAMA_8B, 8_030_261_248),
    (MistralConfig(), 7_241_732_096),
    (QWEN_7B, 7_615_616_512),
]
FAMILIES = [LlamaConfig(**SHAPE), MistralConfig(**SHAPE), Qwen2Config(**SHAPE)]
ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def recipe(**training: Any) -> Recipe:
    settled = {"precision": "bf16", **training}
    return Recipe.model_validate({"name": "x", "model": "x", "training": settled})


def made(context: int, suffixes: int, length: int, answer: int = 6) -> Pack:
    labels = (IGNORED,) * (length - answer) + (1,) * answer
    return Pack(
        (1,) * context, ((1,) * length,) * suffixes, (labels,) * suffixes, (None,) * suffixes
    )


PACKS = [made(200, 1, 30), made(200, 4, 30)]


def adapted(config: PretrainedConfig, wanted: Recipe) -> Any:
    """A real model as the trainer would have it; its embeddings pass gradients on."""
    dtype = torch.bfloat16 if wanted.training.precision == "bf16" else torch.float32
    model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=NAME)
    lora = LoraConfig(
        task_type="CAUSAL_LM", r=wanted.lora.rank, target_modules=list(wanted.lora.targets)
    )
    adapted = get_peft_model(model, lora)
    model.enable_input_require_grads()
    if wanted.training.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return adapted.train()


@pytest.mark.parametrize(("config", "published"), PUBLISHED)
def test_parameters_are_those_that_the_models_are_published_with(
    config: PretrainedConfig, published: int
) -> None:
    assert architecture(meta_model(config)).parameters == published


@pytest.mark.parametrize("config", FAMILIES, ids=lambda config: config.model_type)
@pytest.mark.parametrize("targets", [("q_proj", "v_proj"), ALL])
def test_an_adapter_has_the_weights_that_peft_trains(
    config: PretrainedConfig, targets: Sequence[str]
) -> None:
    wanted = Recipe.model_validate({"name": "x", "model": "x", "lora": {"targets": targets}})
    trained = sum(p.numel() for p in adapted(config, wanted).parameters() if p.requires_grad)
    assert architecture(meta_model(config)).lora_parameters(wanted.lora) == trained


@pytest.mark.parametrize("config", FAMILIES, ids=lambda config: config.model_type)
@pytest.mark.parametrize("pack", PACKS, ids=["one row", "four questions"])
def test_operations_of_matrices_are_those_that_torch_counts(
    config: PretrainedConfig, pack: Pack
) -> None:
    wanted = recipe(precision="fp32")
    estimate = training_flops(architecture(meta_model(config)), wanted, [pack])
    model = adapted(config, wanted)
    assert counted(model, pack) == estimate.base + estimate.lora + estimate.head


def test_checkpointing_computes_a_second_forward_pass_of_the_layers() -> None:
    wanted = recipe(precision="fp32", gradient_checkpointing=True)
    config = LlamaConfig(**SHAPE)
    estimate = training_flops(architecture(meta_model(config)), wanted, PACKS[:1])
    # torch leaves out the last matrix of each layer, whose output nobody reads again.
    assert counted(adapted(config, wanted), PACKS[0]) == pytest.approx(
        estimate.base + estimate.lora + estimate.head, rel=0.1
    )


def counted(model: Any, pack: Pack) -> int:
    """Return the FLOPs of matrix multiplications, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        answer_loss(model, Collator(0)([pack]), None).backward()  # type: ignore[no-untyped-call]
    counts = counter.get_flop_counts()["Global"]
    return sum(flops for operation, flops in counts.items() if "mm" in str(operation))


@pytest.mark.parametrize("pack", PACKS, ids=["one row", "four questions"])
@pytest.mark.parametrize("window", [None, 64, 1000])
def test_attention_covers_every_pair_that_is_seen(pack: Pack, window: int | None) -> None:
    batch = Collator(0)([pack])
    layout = batch["layout"]
    seen = int(visible(layout.segments, layout.positions, 0, window).sum())
    causal = layout.causal_rows(window if window and window < len(pack) else None)
    masked = (len(pack) - causal) * len(pack)
    # Half a square leaves out half of its diagonal.
    assert attention_pairs(pack, window) == causal**2 / 2 + masked >= seen - len(pack) / 2
    if causal == len(pack):
        assert attention_pairs(pack, window) == seen - len(pack) / 2


def test_a_shared_context_saves_operations_in_every_part() -> None:
    shapes = architecture(meta_model(LlamaConfig(**SHAPE)))
    packed = forward_flops(shapes, recipe().lora, [made(200, 4, 30)])
    alone = forward_flops(shapes, recipe().lora, [made(200, 1, 30)] * 4)
    assert packed.base < alone.base / 2
    assert packed.lora < alone.lora / 2
    assert packed.head == alone.head
    assert packed.total < alone.total / 2


@pytest.mark.parametrize("pack", PACKS, ids=["one row", "four questions"])
@pytest.mark.parametrize("targets", [("q_proj", "k_proj", "v_proj", "o_proj"), ALL])
def test_a_layer_keeps_as_many_bytes_as_estimated(pack: Pack, targets: Sequence[str]) -> None:
    wanted = recipe(precision="bf16")
    wanted = wanted.model_copy(update={"lora": wanted.lora.model_copy(update={"targets": targets})})
    shapes = architecture(meta_model(LlamaConfig(**SHAPE)))
    estimate = layer_bytes(shapes, wanted, packed=len(pack.suffixes) > 1)
    assert kept_a_layer(wanted, pack) == pytest.approx(estimate, rel=0.15)


@pytest.mark.parametrize("family", [Gemma3TextConfig, Olmo2Config, Qwen3Config])
def test_every_norm_of_a_layer_is_counted(family: type[PretrainedConfig]) -> None:
    shape = {**SHAPE, "head_dim": 16}
    estimate = layer_bytes(architecture(meta_model(family(**shape))), recipe(), packed=False)
    assert kept_a_layer(recipe(), PACKS[0], family, shape) == pytest.approx(estimate, rel=0.15)


def test_with_checkpointing_a_layer_keeps_its_input() -> None:
    wanted = recipe(precision="bf16", gradient_checkpointing=True)
    assert kept_a_layer(wanted, PACKS[0]) == 2 * SHAPE["hidden_size"]
    shapes = architecture(meta_model(LlamaConfig(**SHAPE)))
    layer = layer_bytes(shapes, wanted, packed=False)
    # All inputs, and one layer as a whole.
    expected = len(PACKS[0]) * (3 * 2 * SHAPE["hidden_size"] + layer)
    assert training_memory(shapes, wanted, PACKS[:1]).activations == expected


def kept_a_layer(
    wanted: Recipe,
    pack: Pack,
    family: type[PretrainedConfig] = LlamaConfig,
    shape: Mapping[str, int] = SHAPE,
) -> float:
    """Return the bytes that a layer more keeps of each token."""
    one, three = (
        kept(adapted(family(**{**shape, "num_hidden_layers": layers}), wanted), pack)
        for layers in (1, 3)
    )
    return (three - one) / 2 / len(pack)


def kept(model: Any, pack: Pack) -> int:
    """Return the bytes that autograd keeps after a forward pass, weights aside."""
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    storages = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16),
    ):
        answer_loss(model, Collator(0)([pack]), None)
    return sum(s.nbytes() for pointer, s in storages.items() if pointer not in weights)


def test_memory_is_that_of_the_longest_packs_of_a_batch() -> None:
    shapes = architecture(meta_model(LlamaConfig(**SHAPE)))
    one = training_memory(shapes, recipe(), PACKS)
    two = training_memory(shapes, recipe(packs_per_step=2, packs_per_batch=2), PACKS)
    assert one.weights == two.weights == 2 * shapes.parameters
    assert one.adapter == 16 * shapes.lora_parameters(recipe().lora)
    assert training_memory(shapes, recipe(optimizer="adafactor"), PACKS).adapter * 2 == one.adapter
    # Two packs' columns of answers, each computed for both.
    assert (two.activations, two.logits) == (2 * one.activations, 4 * one.logits)
    assert one.logits == 24 * SHAPE["vocab_size"] * (2 + 12)
    assert one == Memory(one.weights, one.adapter, one.activations, one.logits)


def test_windows_are_read_layer_by_layer() -> None:
    mixed = Qwen2Config(
        **SHAPE,
        use_sliding_window=True,
        sliding_window=16,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    )
    assert architecture(meta_model(mixed)).windows == (16, None, 16)
    assert architecture(meta_model(Qwen2Config(**SHAPE))).windows == (None,) * 3
    assert architecture(meta_model(MistralConfig(**SHAPE))).windows == (4096,) * 3


def test_a_model_that_training_would_refuse_is_known_without_weights() -> None:
    assert "softcap is not supported" in str(refusal(Gemma2Config(**SHAPE)))
    for config in FAMILIES:
        assert refusal(config) is None
    assert architecture(meta_model(MixtralConfig(**SHAPE))).experts


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_places_say_how_long_a_training_takes_and_whether_it_fits(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "PROBE_SECONDS", 0)
    wanted = recipe(precision=precision, gradient_checkpointing=precision == "fp32")
    cost = {"flops": 1e15, "needed": 30 * 10**9}
    here = machine.this_machine(LlamaConfig(**SHAPE), wanted, PACKS[1], **cost)
    gpus = machine.gpus(precision, **cost)
    assert here.name.startswith("here")
    assert 1e6 < here.speed < 1e17
    assert here.seconds == 1e15 / here.speed
    assert {gpu.name: gpu.fits for gpu in gpus}["RTX 4090"] is False
    assert all(gpu.fits for gpu in gpus if gpu.memory > 40 * 10**9)
    assert settled(recipe(precision="auto"), "bf16").training.precision == "bf16"
    assert settled(recipe(precision="fp32"), "bf16").training.precision == "fp32"
    speed = next(gpu.speed for gpu in gpus if gpu.name == "A100")
    assert speed == pytest.approx(0.4 * {"bf16": 312e12, "fp32": 19.5e12}[precision])
