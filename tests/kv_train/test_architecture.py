"""Families of models: their questions are computed apart in one pack, or such packs are refused.

Separate rows are computed by transformers' own attention, as in test_packing.
"""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig

from kv_tasks.errors import ModelError
from kv_train.architecture import architecture, meta_model
from kv_train.attention import NAME
from kv_train.longrope import astride, shorter
from kv_train.packing import Collator, Pack
from kv_train.recipe_files import load_recipe
from kv_train.refusal import refusal, renamed, unshared
from kv_train.run import run
from kv_train.tokens import IGNORED
from kv_train.trainer import answer_loss

from . import test_packing

SHAPE = {**test_packing.SHAPE, "vocab_size": 64, "pad_token_id": 0}
LINEAR = {
    "layer_types": ["linear_attention", "full_attention"],
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
MAMBA = {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_ssm": 64, "mamba_d_state": 8}
LONGROPE = {
    "max_position_embeddings": 64,
    "rope_parameters": {
        "rope_type": "longrope",
        "rope_theta": 1e4,
        "short_factor": [1.0] * 4,
        "long_factor": [4.0] * 4,
    },
}
SLIDING = {
    "use_sliding_window": True,
    "sliding_window": 16,
    "layer_types": ["sliding_attention"] * 2,
}
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("qwen2_moe", SLIDING, "is not told of its sliding window of 16 tokens"),
    ("phimoe", {"sliding_window": 16}, "is not told of its sliding window of 16 tokens"),
    ("gpt_oss", {}, "s_aux is not supported"),
    ("doge", {}, "it makes an attention mask of its own"),
    ("xglm", {"d_model": 32, "num_layers": 2, "attention_heads": 4}, "an attention of its own"),
    ("gptj", {"n_embd": 32, "n_head": 4, "rotary_dim": 4}, "an attention of its own"),
    ("bart", {"d_model": 32}, "takes no position_ids"),
    ("nemotron", {}, "do not hand on to attention what the trainer passes"),
    ("mamba", {"num_attention_heads": None}, "it has no attention"),
]
APART: dict[str, dict[str, Any]] = {
    "llama": {},
    "gemma3_text": {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 16},
    "gemma4_text": {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 16},
    "phi3": {**LONGROPE, "original_max_position_embeddings": 16},
    "qwen3_moe": EXPERTS,
}
CARRYING: dict[str, dict[str, Any]] = {
    "qwen3_5_text": LINEAR,
    "qwen3_next": {**LINEAR, **EXPERTS, "shared_expert_intermediate_size": 16},
    "falcon_h1": {**MAMBA, "mamba_chunk_size": 16},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "jamba": {"num_hidden_layers": 4, "attn_layer_period": 2, "attn_layer_offset": 1,
              "num_experts": 2, "use_mamba_kernels": False, "mamba_d_state": 8},
    # Says nothing of its layers but that they convolve; its window is shorter than the rows.
    "recurrent_gemma": {"num_hidden_layers": 3, "attention_window_size": 16},
    "minimax": {"layer_types": LINEAR["layer_types"], "num_local_experts": 2},
}  # fmt: skip


def config(family: str) -> PretrainedConfig:
    made: PretrainedConfig = AutoConfig.for_model(
        family, **{**SHAPE, **APART.get(family, {}), **CARRYING.get(family, {})}
    )
    return made


def pair(family: str) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Return one random model with the trainer's attention and with transformers' own."""
    ours, own = (
        AutoModelForCausalLM.from_config(config(family), attn_implementation=name).float().eval()
        for name in (NAME, "eager")
    )
    draw = torch.Generator().manual_seed(0)
    for weight in ours.parameters():
        if weight.dim() > 1:
            # Large enough for what leaks between questions to be seen in the loss.
            torch.nn.init.normal_(weight, std=0.2, generator=draw)
    own.load_state_dict(ours.state_dict())
    return ours, own


def questions() -> list[Pack]:
    """Return rows alone that share their first 24 tokens."""
    draw = torch.Generator().manual_seed(1)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(3, 60, (count,), generator=draw).tolist())

    context, rests = ids(24), [ids(count) for count in (7, 9, 6)]
    return [Pack(context, (rest,), ((IGNORED,) * 3 + rest[3:],), (None,)) for rest in rests]


def packed(packs: list[Pack]) -> Pack:
    rests, labels = ([getattr(p, name)[0] for p in packs] for name in ("suffixes", "labels"))
    return Pack(packs[0].context, tuple(rests), tuple(labels), (None,) * len(packs))


def loss_of(net: torch.nn.Module, batch: list[Pack]) -> float:
    return answer_loss(net, Collator(pad_token_id=0)(batch), 1.0).item()


def own_loss_of(net: torch.nn.Module, row: Pack) -> float:
    ids = torch.tensor([row.context + row.suffixes[0]])
    labels = torch.tensor((IGNORED,) * len(row.context) + row.labels[0])
    logits = net(input_ids=ids, use_cache=False).logits[0, :-1].float()
    return cross_entropy(logits, labels[1:], ignore_index=IGNORED, reduction="sum").item()


@pytest.mark.parametrize("family", [*APART, *CARRYING])
def test_questions_of_a_pack_are_computed_apart_or_refused(family: str) -> None:
    shapes = meta_model(config(family))
    assert refusal(config(family)) is None
    ours, own = pair(family)
    rows = questions()
    with torch.no_grad():
        expected = sum(own_loss_of(own, row) for row in rows)
        assert loss_of(ours, rows) == pytest.approx(expected, rel=1e-5)
        shared = loss_of(ours, [packed(rows)])
    if family in CARRYING:
        assert "would carry one question of a pack into the next" in str(unshared(shapes))
        assert shared != pytest.approx(expected, rel=1e-5)
    else:
        assert unshared(shapes) is None
        assert shared == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("family", "changes", "why"), REFUSED)
def test_what_attention_is_not_asked_for_is_refused(
    family: str, changes: dict[str, Any], why: str
) -> None:
    assert why in str(refusal(AutoConfig.for_model(family, **{**SHAPE, **changes})))


def test_experts_do_not_hide_a_forward_that_lacks_an_argument(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def forward(self: Any, input_ids: Any, position_ids: Any, layout: Any) -> None: ...

    kind = type(meta_model(config("qwen3_moe")))
    monkeypatch.setattr(kind, "forward", forward)
    assert "does not take what the trainer passes" in str(refusal(config("qwen3_moe")))


def test_a_model_that_breaks_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ImportError("\nTheModel requires\n a library")

    monkeypatch.setattr(AutoModelForCausalLM, "from_config", broken)
    said = "it could not be tried (ImportError: TheModel requires a library)"
    assert refusal(config("llama")) == said


def test_a_window_longer_than_any_row_is_none() -> None:
    whole = {**SHAPE, "max_position_embeddings": 64, "sliding_window": 64}
    assert refusal(AutoConfig.for_model("phimoe", **whole)) is None


def test_longrope_computes_rows_of_both_sides_otherwise_than_alone() -> None:
    ours, own = pair("phi3")
    short, long = questions()[0], packed(questions()[:1])
    short = Pack(short.context[:4], short.suffixes, short.labels, (None,))
    with torch.no_grad():
        expected = own_loss_of(own, short) + own_loss_of(own, long)
        apart = loss_of(ours, [short]) + loss_of(ours, [long])
        assert apart == pytest.approx(expected, rel=1e-5)
        assert loss_of(ours, [short, long]) != pytest.approx(expected, rel=1e-5)
    switch = architecture(meta_model(config("phi3"))).switch
    assert switch == 16
    assert "rows of 11 and 31 tokens" in str(astride([short, long], switch, 2))
    assert astride([short, long], switch, 1) is None
    assert astride([short, long], None, 2) is None
    assert shorter([short], switch)
    assert not shorter([long], switch)


def test_a_convolution_is_no_expert() -> None:
    assert not architecture(meta_model(config("lfm2"))).experts
    assert architecture(meta_model(config("qwen3_next"))).experts


def test_attention_in_chunks_is_refused_for_rows_alone_as_well() -> None:
    chunked = AutoConfig.for_model(
        "llama4_text", **SHAPE, intermediate_size_mlp=48, num_local_experts=2
    )
    assert "chunked_attention layers are not supported" in str(refusal(chunked))


def test_a_hybrid_model_is_trained_on_rows_alone_only(
    tiny_base: Path, tiny_recipe: Path, tiny_tokenizer: Any, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny_base, base)
    wide = {**SHAPE, "vocab_size": len(tiny_tokenizer), "max_position_embeddings": 2048}
    hybrid = AutoConfig.for_model("lfm2", **{**wide, **CARRYING["lfm2"]})
    AutoModelForCausalLM.from_config(hybrid).save_pretrained(base)
    chosen = [f"model={base}", "lora.targets=[q_proj]", "evaluation.steps=0"]
    with pytest.raises(ModelError, match=r"questions_per_pack 8: .* would carry .*; set it to 1"):
        run(load_recipe(str(tiny_recipe), chosen), tmp_path / "out")
    alone = [*chosen, "training.questions_per_pack=1"]
    assert (run(load_recipe(str(tiny_recipe), alone), tmp_path / "out") / "log.jsonl").is_file()


def test_a_model_whose_files_have_other_names_is_refused_before_it_is_trained(
    tiny_base: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    """As Qwen3.5, of which vLLM looks for an adapter's layers by the names in its files."""
    base = shutil.copytree(tiny_base, tmp_path / "base")
    weights = base / "model.safetensors"
    tensors = load_file(weights)
    named = {name.replace("model.", "model.language_model.", 1): t for name, t in tensors.items()}
    save_file(named, weights, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"its files have no model\.layers\.0\..*q_proj\.weight"):
        run(load_recipe(str(tiny_recipe), [f"model={base}"]), tmp_path / "out")
    shapes = architecture(meta_model(AutoConfig.from_pretrained(base)))
    assert renamed(shapes, ["q_proj"], tiny_base) is None
    assert renamed(shapes, ["q_proj"], tmp_path) is None
