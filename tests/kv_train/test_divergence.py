"""Rows that are held to the base model: nothing at first, and what leads away from it after."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import jsonlines
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.nn.functional import log_softmax

from kv_tasks.errors import RecipeError
from kv_train.adapter import read_manifest
from kv_train.divergence import divergence
from kv_train.held_out import answer_losses
from kv_train.packing import Collator, Pack, pack, pack_rows
from kv_train.prepare import prepare, refuse_shares
from kv_train.recipe_files import load_recipe
from kv_train.run import run
from kv_train.tokens import IGNORED
from kv_train.trainer import answer_loss, loss_sums

from .test_packing import model, rows

CHAT = (
    '{"messages": [{"role": "user", "content": "Name a river."}, '
    '{"role": "assistant", "content": "The river"}]}\n'
)


@pytest.fixture
def net() -> torch.nn.Module:
    """A model with an adapter that does nothing yet."""
    return adapted()


def adapted(*attention: str) -> torch.nn.Module:
    net = model("llama", *attention)
    torch.manual_seed(0)
    config = LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj", "v_proj"])
    return get_peft_model(net, config)


def trained(net: torch.nn.Module) -> torch.nn.Module:
    torch.manual_seed(1)
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.5)
    return net


def held(packs: Sequence[Pack], kl: float = 2.0) -> list[Pack]:
    return [replace(item, kl=kl) for item in packs]


def of(net: torch.nn.Module, packs: Sequence[Pack], items: float | None = 1.0) -> torch.Tensor:
    return answer_loss(net, Collator(pad_token_id=0)(packs), items)


def test_a_fresh_adapter_leads_nowhere_and_a_trained_one_away(net: torch.nn.Module) -> None:
    packs = held([pack(rows())])
    assert of(net, packs).item() == pytest.approx(0, abs=1e-5)
    assert of(trained(net), packs).item() > 0.1
    assert of(net, held(packs, 4.0)).item() == pytest.approx(2 * of(net, packs).item())


def test_it_is_the_divergence_of_every_token_from_base_to_adapter(net: torch.nn.Module) -> None:
    row = rows()[0]
    ids = torch.tensor([row.input_ids])
    usual = trained(adapted("eager"))
    found = log_softmax(usual(input_ids=ids, use_cache=False).logits.float(), dim=-1)
    with usual.disable_adapter():
        base = log_softmax(usual(input_ids=ids, use_cache=False).logits.float(), dim=-1)
    expected = 2 * (base.exp() * (base - found)).sum()
    given = of(trained(net), held([pack([row])]))
    torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-4)


def test_padding_and_packs_beside_it_change_nothing(net: torch.nn.Module) -> None:
    short, long = held([pack(rows(context=20))]), held([pack(rows("b", seed=1))])
    answers = [pack(rows("c", seed=2))]
    alone = [of(trained(net), packs).item() for packs in (short, long, answers)]
    for packs in ([*short, *long, *answers], [*answers, *short, *long]):
        torch.manual_seed(0)
        assert of(net, packs).item() == pytest.approx(sum(alone), rel=1e-4)


def test_only_the_adapter_learns_of_it(net: torch.nn.Module) -> None:
    of(trained(net), held([pack(rows())])).backward()
    assert {n.split(".")[-3] for n, p in net.named_parameters() if p.grad is not None} == {
        "lora_A", "lora_B",
    }  # fmt: skip
    batch = Collator(pad_token_id=0)(held([pack(rows())]))
    assert (batch["labels"] != IGNORED).any(), "its answers count among the step's"
    assert divergence(net, batch)[0].requires_grad


def test_rows_that_share_a_context_weigh_as_rows_of_their_own(net: torch.nn.Module) -> None:
    together = held([pack(rows())])
    apart = held([pack([row]) for row in rows()])
    assert len(together[0].suffixes) == len(apart) > 1
    batch = Collator(pad_token_id=0)
    one = divergence(trained(net), batch(together))
    several = [divergence(net, batch([item])) for item in apart]
    for found, separate in zip(one, zip(*several, strict=True), strict=True):
        torch.testing.assert_close(found, sum(separate), rtol=1e-4, atol=1e-4)


def test_what_is_checkpointed_is_the_same(net: torch.nn.Module) -> None:
    batch = Collator(pad_token_id=0)(held([pack(rows())]))
    usual, _ = divergence(trained(net).train(), batch)
    net.gradient_checkpointing_enable()
    net.enable_input_require_grads()
    found, _ = divergence(net, batch)
    found.backward()
    assert net.training
    torch.testing.assert_close(found, usual)


def test_both_parts_of_a_loss_are_counted_in_tokens_of_their_own(net: torch.nn.Module) -> None:
    one, two, three = rows()
    packs = [pack([one, two]), *held([pack([three])], 3.0)]
    answers, tokens, led, weights = loss_sums(trained(net), Collator(pad_token_id=0)(packs))
    assert tokens.item() == sum(label != IGNORED for row in (one, two) for label in row.labels)
    assert weights.item() == 3 * len(three.input_ids)
    assert answers.item() == pytest.approx(of(net, packs[:1]).item(), rel=1e-4)
    assert of(net, packs, 7.0).item() == pytest.approx((answers + led).item() / 7, rel=1e-4)


def test_rows_that_are_held_are_packed_apart_from_those_that_are_trained() -> None:
    one, two, three = rows()
    packs = pack_rows([one, two, replace(three, kl=1.0)], questions_per_pack=8)
    assert [(len(item.suffixes), item.kl) for item in packs] == [(2, 0.0), (1, 1.0)]


def test_a_file_is_held_to_the_base_while_the_rest_is_trained(
    tiny_recipe: Path, tiny_base: Path, tmp_path: Path
) -> None:
    file = tmp_path / "own.jsonl"
    file.write_text(CHAT * 4)
    mixed = load_recipe(str(tiny_recipe), [f"mix=[{{file: {file}, kl: 3}}]", "name=tiny"])
    out = run(mixed, tmp_path / "held" / "tiny")
    told = load_recipe(str(tiny_recipe), [f"mix=[{{file: {file}}}]", "name=tiny"])
    other = run(told, tmp_path / "told" / "tiny")
    assert read_manifest(out).files != read_manifest(other).files
    with jsonlines.open(out / "log.jsonl") as lines:
        log = [entry for entry in lines if "loss" in entry]
    losses = dict(answer_losses(log))
    assert losses and all("divergence" in entry or "answer_loss" in entry for entry in log)
    # Held tokens are no answers that are trained: a step without any says nothing of them.
    assert all(loss > 1 for loss in losses.values())
    assert any(entry["loss"] < losses.get(entry["step"], 0) for entry in log)
    work = tmp_path / "work"
    work.mkdir()
    for name in ("data.jsonl", "held-out.jsonl"):
        (work / name).write_bytes((out / name).read_bytes())
    prepared = prepare(mixed, tiny_base, work)
    assert [item.kl for item in prepared.packs if item.kl] == [3.0] * 4
    assert not any(item.kl for item in prepared.held_out)
    with pytest.raises(RecipeError, match="kl: 2 processes train together"):
        refuse_shares(mixed, processes=2)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.kl=1", "holds the rows of a file to the base model; name one: file"),
        ("data={file: a.jsonl, kl: 1}", "all data is held to the base model"),
        ("mix=[{file: a.jsonl, kl: -1}]", r"mix.0.kl: .*greater than or equal to 0"),
    ],
)
def test_what_cannot_be_held_is_refused(tiny_recipe: Path, override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe(str(tiny_recipe), [override])
