"""The model card says what was trained on and how to serve it, and nothing of the machine."""

from pathlib import Path
from typing import Any

from kv_train.model_card import model_card
from kv_train.models import hub_cache_name, public_name
from kv_train.recipe import Data, Lora, Recipe


def test_the_card_says_what_it_was_trained_on(tiny_adapter: Path) -> None:
    card = (tiny_adapter / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: peft\n")
    assert "The data is synthetic and teaches no facts" in card
    assert "<!-- results -->" in card
    log: list[Any] = [{"step": 1, "loss": 1.0}]
    documents = card_of(made_of(Data(), Data(kind="mdqa")), "b", "ORG/B", log)
    assert documents.startswith("---\nbase_model: ORG/B\nbase_model_relation: adapter\n")
    assert "questions over documents" in documents
    assert "teaches no facts" not in documents + card_of(made_of(FILE), "b", None, log)
    invented = Data(kind="mdqa", corpus="encyclopedia-training")
    assert "teaches no facts" in card_of(made_of(Data(), invented), "b", None, log)
    here = made_of(Data(file=Path("/home/me/own.jsonl")))
    card = card_of(here.model_copy(update={"model": "/home/me/b"}), "/home/me/b", None, log)
    assert "/home/me" not in card
    assert "A LoRA adapter of `b`, " in card
    assert "A part of the data is synthetic" in card_of(made_of(FILE, Data()), "b", None, log)
    packaged = card_of(made_of(Data()), "smollm2-135m", None, log)
    assert "4-bit weights dequantized" in packaged
    essays = Data(kind="needle", tokens=900, text=Path("essays.txt"))
    assert "teaches no facts" not in card_of(made_of(essays), "b", None, log)


def test_the_card_serves_the_model_that_was_trained_as_it_was_trained() -> None:
    log: list[Any] = [{"step": 1, "loss": 1.0}]
    usual = card_of(made_of(Data()), "ORG/B", "ORG/B", log)
    assert "    vllm serve ORG/B --enable-lora --lora-modules x=.\n" in usual
    told = made_of(Data(chat_template_kwargs={"enable_thinking": False}), lora=Lora(rank=24))
    card = card_of(told, "smollm2-135m", "HuggingFaceTB/SmolLM2-135M-Instruct", log)
    (line,) = (line for line in card.splitlines() if "vllm serve" in line)
    assert line.startswith('    vllm serve "$(kv-train model smollm2-135m)" --enable-lora')
    assert '--max-lora-rank 32 --default-chat-template-kwargs \'{"enable_thinking"' in line
    assert "    kv-adapters serve --base smollm2-135m --adapter .\n" in card


def test_the_card_names_the_revision_that_was_trained_on() -> None:
    card = card_of(made_of(Data()), "ORG/B", "ORG/B", [{"step": 1, "loss": 1.0}], revision="abc")
    assert "    vllm serve ORG/B --revision abc --enable-lora" in card
    assert card.count('--base "$(kv-train model ORG/B --revision abc)" --adapter .') == 2


def test_a_base_out_of_the_hubs_cache_is_known_by_its_name_there(tmp_path: Path) -> None:
    folder = tmp_path / "models--ORG--B--1" / "snapshots" / "abc"
    folder.mkdir(parents=True)
    assert public_name(str(folder)) == hub_cache_name(folder) == "ORG/B--1"
    assert public_name(str(tmp_path)) is None
    log: list[Any] = [{"step": 1, "loss": 1.0}]
    card = card_of(made_of(Data()), str(folder), "ORG/B--1", log, revision="abc")
    assert "    vllm serve ORG/B--1 --revision abc --enable-lora" in card
    assert "A LoRA adapter of `ORG/B--1`" in card


def test_the_card_compares_where_an_evaluation_of_the_folder_puts_it(tiny_adapter: Path) -> None:
    card = (tiny_adapter / "README.md").read_text()
    assert f"    kv-adapters compare results/base results/{tiny_adapter.name}\n" in card


def card_of(recipe: Recipe, base: str, hub: str | None, log: list[Any], **told: Any) -> str:
    return model_card(recipe, base, hub, log, **{"name": "x", **told})


def made_of(data: Data, *mix: Data, **sections: Any) -> Recipe:
    return Recipe(name="x", model="b", data=data, mix=mix, **sections)


FILE = Data(file=Path("rows.jsonl"))
