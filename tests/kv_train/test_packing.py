"""K questions packed over one context equal K separate rows, in loss and in gradient."""

from collections.abc import Sequence

import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from kv_train.packing import Collator, Pack, attention_mask, pack, pack_rows
from kv_train.tokens import IGNORED, Row
from kv_train.trainer import answer_loss

SHAPE = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
MODELS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE)),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SHAPE, sliding_window=None)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SHAPE)),
}
QUESTIONS = (7, 11, 9)
ANSWER = 4


def rows(context_id: str = "c", context: int = 50, seed: int = 0) -> list[Row]:
    draw = torch.Generator().manual_seed(seed)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(1, 97, (count,), generator=draw).tolist())

    shared = ids(context)
    return [
        Row(shared + (n,) + ids(size), context + 1 + size - ANSWER, context_id, f"row {n}")
        for n, size in enumerate(QUESTIONS, start=1)
    ]


def model(name: str) -> PreTrainedModel:
    torch.manual_seed(0)
    built: PreTrainedModel = MODELS[name]()
    return built.train()


def loss_and_gradient(
    net: PreTrainedModel, batches: Sequence[Sequence[Pack]]
) -> tuple[float, dict[str, torch.Tensor]]:
    collate = Collator(pad_token_id=0)
    made = [collate(batch) for batch in batches]
    items = sum(int((batch["labels"] != IGNORED).sum()) for batch in made)
    total = 0.0
    for batch in made:
        loss = answer_loss(net, batch, items)
        loss.backward()
        total += loss.item()
    gradient = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
    net.zero_grad()
    return total, gradient


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_packed_questions_equal_separate_rows(name: str, checkpointing: bool) -> None:
    net = model(name)
    if checkpointing:
        net.gradient_checkpointing_enable()
    made = rows()
    separate = loss_and_gradient(net, [[pack([row])] for row in made])
    packed = loss_and_gradient(net, [[pack(made)]])
    assert packed[0] == pytest.approx(separate[0], rel=1e-5)
    for parameter, gradient in separate[1].items():
        torch.testing.assert_close(packed[1][parameter], gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_padding_changes_nothing(name: str) -> None:
    net = model(name)
    short, long = pack(rows("a", context=20)), pack(rows("b", context=60, seed=1))
    alone = loss_and_gradient(net, [[short], [long]])
    together = loss_and_gradient(net, [[short, long]])
    assert together[0] == pytest.approx(alone[0], rel=1e-5)
    for parameter, gradient in alone[1].items():
        torch.testing.assert_close(together[1][parameter], gradient, rtol=1e-4, atol=1e-6)


def test_restarting_positions_without_the_mask_would_be_wrong() -> None:
    """The test above can fail: without the mask the loss is another one."""
    net = model("llama")
    batch = Collator(pad_token_id=0)([pack(rows())])
    right = answer_loss(net, batch, None).item()
    del batch["attention_mask"]
    assert abs(answer_loss(net, batch, None).item() - right) > 1e-4


def test_a_suffix_sees_the_context_and_itself_only() -> None:
    item = Pack(context=(1, 2), suffixes=((3, 4), (5,)), answer_starts=(1, 0))
    seen = attention_mask([item], width=6)[0, 0].int().tolist()
    assert seen == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 1],
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


def test_one_row_needs_no_mask() -> None:
    assert "attention_mask" not in Collator(pad_token_id=0)([pack(rows()[:1])])


def test_identical_prompts_keep_a_token_that_predicts_the_answer() -> None:
    row = rows()[0]
    item = pack([row, row])
    assert len(item.context) == row.prompt_length - 1
    assert item.answer_starts == (1, 1)


def test_contexts_are_never_mixed_and_packs_have_the_size_asked_for() -> None:
    made = rows("a") + rows("b", seed=1)
    packs = pack_rows(made, questions_per_pack=2)
    assert [len(item.suffixes) for item in packs] == [2, 1, 2, 1]
    assert packs[0].context[:50] == made[0].input_ids[:50]
    assert packs[2].context[:50] == made[3].input_ids[:50]
