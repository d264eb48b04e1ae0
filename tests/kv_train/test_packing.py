"""K questions packed over one context equal K separate rows, in loss and in gradient.

The separate rows are computed by transformers alone: its own attention, full logits, one row
at a time.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import (
    AutoModelForCausalLM,
    Gemma3Config,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
    Trainer,
)

from kv_tasks.errors import ModelError
from kv_train import attention
from kv_train.attention import NAME, Layout, visible
from kv_train.packing import Collator, Pack, pack, pack_rows
from kv_train.refusal import refusal
from kv_train.tokens import IGNORED, Row
from kv_train.trainer import AnswerTrainer, answer_loss

SHAPE = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
}
MIXED = {"layer_types": ["sliding_attention", "full_attention"]}
CONFIGS = {
    "llama": LlamaConfig(**SHAPE),
    "mistral": MistralConfig(**SHAPE, sliding_window=None),
    # Windows shorter than the context, longer than it, and in some layers only.
    "mistral, window 16": MistralConfig(**SHAPE, sliding_window=16),
    "mistral, window 55": MistralConfig(**SHAPE, sliding_window=55),
    "qwen2": Qwen2Config(**SHAPE),
    "qwen2, mixed": Qwen2Config(**SHAPE, **MIXED, use_sliding_window=True, sliding_window=16),
    "qwen2, mixed, window 55": Qwen2Config(
        **SHAPE, **MIXED, use_sliding_window=True, sliding_window=55
    ),
    "qwen3": Qwen3Config(**SHAPE),
    "gemma3": Gemma3TextConfig(**SHAPE, **MIXED, sliding_window=16),
}
QUESTIONS = (7, 11, 9)
ANSWER = 4


def rows(context_id: str = "c", context: int = 50, seed: int = 0) -> list[Row]:
    draw = torch.Generator().manual_seed(seed)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(1, 97, (count,), generator=draw).tolist())

    shared = ids(context)
    made = []
    for n, size in enumerate(QUESTIONS, start=1):
        end = context + 1 + size
        row_ids = shared + (n,) + ids(size)
        made.append(Row(row_ids, ((end - ANSWER, end),), context_id, f"row {n}"))
    return made


def model(name: str, attention: str = NAME) -> PreTrainedModel:
    torch.manual_seed(0)
    config: PretrainedConfig = CONFIGS[name]
    built = AutoModelForCausalLM.from_config(config, attn_implementation=attention)
    assert isinstance(built, PreTrainedModel)
    return built.train()


Result = tuple[float, dict[str, torch.Tensor]]


def gradients(net: PreTrainedModel) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}


def separate_rows(name: str, made: Sequence[Row]) -> Result:
    """Each row alone through transformers' own attention."""
    net = model(name, "eager")
    items = sum(end - start for row in made for start, end in row.spans)
    total = 0.0
    for row in made:
        labels = torch.tensor(row.labels[1:])
        logits = net(input_ids=torch.tensor([row.input_ids]), use_cache=False).logits[0, :-1]
        loss = cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum") / items
        loss.backward()
        total += loss.item()
    return total, gradients(net)


def packed(name: str, batches: Sequence[Sequence[Pack]], checkpointing: bool = False) -> Result:
    net = model(name)
    if checkpointing:
        net.gradient_checkpointing_enable()
    made = [Collator(pad_token_id=0)(batch) for batch in batches]
    items = sum(int((batch["labels"] != IGNORED).sum()) for batch in made)
    total = 0.0
    for batch in made:
        loss = answer_loss(net, batch, items)
        loss.backward()
        total += loss.item()
    return total, gradients(net)


def assert_equal(found: Result, expected: Result) -> None:
    assert found[0] == pytest.approx(expected[0], rel=1e-5)
    assert found[1].keys() == expected[1].keys()
    for parameter, gradient in expected[1].items():
        torch.testing.assert_close(found[1][parameter], gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("checkpointing", [False, True], ids=["", "checkpointing"])
def test_packed_questions_equal_separate_rows(name: str, checkpointing: bool) -> None:
    made = rows()
    assert_equal(packed(name, [[pack(made)]], checkpointing), separate_rows(name, made))


@pytest.mark.parametrize("name", CONFIGS)
def test_padding_changes_nothing(name: str) -> None:
    short, long, single = rows("a", context=20), rows("b", seed=1), rows("c", seed=2)[:1]
    batch = [pack(short), pack(long), pack(single)]
    assert_equal(packed(name, [batch]), separate_rows(name, [*short, *long, *single]))


@pytest.mark.parametrize("name", CONFIGS)
def test_single_rows_of_several_lengths_equal_separate_rows(name: str) -> None:
    made = rows()
    batch = [pack([row]) for row in made]
    assert_equal(packed(name, [batch[:2], batch[2:]]), separate_rows(name, made))


def test_every_answer_of_a_conversation_is_trained() -> None:
    row = rows()[0]
    turns = Row(row.input_ids, ((10, 14), (30, 33), row.spans[0]), "c", "turns")
    assert_equal(packed("llama", [[pack([turns])]]), separate_rows("llama", [turns]))


def test_restarting_positions_without_the_segments_would_be_wrong() -> None:
    """The tests above can fail: as one causal row the loss is another one."""
    net = model("llama")
    batch = Collator(pad_token_id=0)([pack(rows())])
    right = answer_loss(net, batch, None).item()
    causal = Layout(torch.zeros_like(batch["input_ids"]), batch["position_ids"], 0)
    assert abs(answer_loss(net, {**batch, "layout": causal}, None).item() - right) > 1e-4


def test_a_suffix_sees_the_context_and_itself_only() -> None:
    item = Pack(((1, 2)), ((3, 4), (5,)), ((IGNORED, 4), (5,)), (None, None))
    longer = Pack((1, 2, 3), ((4, 5), (6,)), ((IGNORED, 5), (6,)), (None, None))
    layout = Collator(pad_token_id=0)([item, longer])["layout"]
    seen = visible(layout.segments, layout.positions)[0].int().tolist()
    assert layout.prefix == 2
    assert seen == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 0, 0, 1, 0],
        [1, 1, 0, 0, 0, 1],
    ]


def test_a_window_counts_positions_not_places() -> None:
    item = Pack((1, 2, 3), ((4, 5), (6, 7)), ((IGNORED, 5), (IGNORED, 7)), (None, None))
    layout = Collator(pad_token_id=0)([item])["layout"]
    seen = visible(layout.segments, layout.positions, 3, window=3).int()[0].tolist()
    assert seen == [
        [0, 1, 1, 1, 0, 0, 0],
        [0, 0, 1, 1, 1, 0, 0],
        [0, 1, 1, 0, 0, 1, 0],
        [0, 0, 1, 0, 0, 1, 1],
    ]


def test_positions_of_every_suffix_go_on_where_the_context_ends() -> None:
    made = rows(context=5)
    batch = Collator(pad_token_id=0)([pack(made)])
    lengths = [len(row.input_ids) for row in made]
    expected = [*range(5)]
    for length in lengths:
        expected += range(5, length)
    assert batch["position_ids"][0].tolist() == expected


def test_labels_are_the_answers_alone() -> None:
    made = rows()
    labels = Collator(pad_token_id=0)([pack(made)])["labels"][0]
    answers = [token for row in made for token in row.input_ids[row.prompt_length :]]
    assert labels[labels != IGNORED].tolist() == answers


def test_rows_alone_are_causal_throughout_and_need_no_mask() -> None:
    made = rows()
    layout = Collator(pad_token_id=0)([pack([row]) for row in made])["layout"]
    assert layout.prefix == max(len(row.input_ids) for row in made)


def test_identical_prompts_keep_a_token_that_predicts_the_answer() -> None:
    row = rows()[0]
    item = pack([row, row])
    assert len(item.context) == row.prompt_length - 1
    assert [labels[0] for labels in item.labels] == [IGNORED, IGNORED]
    assert item.labels[0][1:] == row.input_ids[row.prompt_length :]


def test_a_model_that_reads_more_than_text_is_refused() -> None:
    small = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1,
             "num_attention_heads": 2}  # fmt: skip
    text = {**small, "num_key_value_heads": 1, "head_dim": 16, "vocab_size": 64}
    sees = Gemma3Config(text_config=text, vision_config={**small, "image_size": 28})
    assert "it reads more than text" in str(refusal(sees))


def test_attention_that_a_model_wants_and_this_one_lacks_is_refused() -> None:
    from kv_train.attention import shared_context_attention

    query = torch.zeros(1, 2, 4, 8)
    layout = Layout(torch.zeros(1, 4), torch.arange(4)[None], 4)
    with pytest.raises(ModelError, match="softcap is not supported"):
        shared_context_attention(
            torch.nn.Identity(), query, query, query, None, layout=layout, softcap=50.0
        )


def test_a_batch_keeps_its_masks_no_longer_than_its_step(monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout(torch.zeros(1, 4), torch.arange(4)[None], 4)
    layout.mask(0, 2, torch.device("cpu"))
    trainer = object.__new__(AnswerTrainer)
    monkeypatch.setattr(Trainer, "training_step", lambda *_: torch.ones(()))
    assert trainer.training_step(torch.nn.Identity(), {"layout": layout}) == 1
    assert not layout._masks


def test_cudnn_computes_no_masked_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    allowed: dict[bool, list[bool]] = {True: [], False: []}

    def attend(module: torch.nn.Module, query: torch.Tensor, *rest: Any, **kwargs: Any) -> Any:
        masked = rest[2] is not None
        allowed[masked].append(torch.backends.cuda.cudnn_sdp_enabled())
        return query.transpose(1, 2), None

    monkeypatch.setattr(attention, "sdpa_attention_forward", attend)
    before = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(True)
    layout = Layout(torch.tensor([[0, 0, 1, 2]]), torch.tensor([[0, 1, 2, 2]]), 2)
    states = torch.zeros(1, 2, 4, 8)
    attention.shared_context_attention(
        torch.nn.Identity(), states, states, states, None, layout=layout
    )
    # Its backward makes NaN of some masked rows; without a mask it is sound, and fast.
    assert allowed == {True: [False], False: [True]}
    assert torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(before)


def test_contexts_are_never_mixed_and_packs_have_the_size_asked_for() -> None:
    made = rows("a") + rows("b", seed=1)
    packs = pack_rows(made, questions_per_pack=2)
    assert [len(item.suffixes) for item in packs] == [2, 1, 2, 1]
    assert packs[0].context[:50] == made[0].input_ids[:50]
    assert packs[2].context[:50] == made[3].input_ids[:50]
    # Two sections may call their contexts alike.
    kinds = [replace(row, kind=kind) for kind in ("mdqa", "mdqa_2") for row in rows("a")]
    assert [(p.kind, len(p.suffixes)) for p in pack_rows(kinds, questions_per_pack=8)] == [
        ("mdqa", 3), ("mdqa_2", 3),
    ]  # fmt: skip
