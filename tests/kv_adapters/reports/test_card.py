"""The model card: filled, filled again, and never at the price of a sound adapter."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from typer.testing import CliRunner

from kv_adapters.checks.files import file_checks
from kv_adapters.cli import app
from kv_adapters.comparison.runs import Run, load_run
from kv_adapters.reports.card import write_card
from kv_tasks.errors import AdapterError, RunError
from kv_train.adapter import WEIGHTS, adapter_checksum, read_manifest

Write = Callable[..., Path]
CURVE = {1: [1.0, 0.0] * 20, 10: [0.0, 0.0] * 20}
BETTER = {1: [1.0, 0.0] * 20, 10: [1.0, 1.0] * 20}


def test_the_card_holds_sentence_table_figure_and_the_hubs_metadata(
    own_adapter: Path, tiny_base: Path, write_run: Write
) -> None:
    base, run = write_run("base", CURVE), write_run("kv", BETTER)
    done = CliRunner().invoke(app, ["card", str(own_adapter), str(base), str(run)])
    assert done.exit_code == 0, done.output
    card = ModelCard.load(own_adapter / "README.md")
    assert "kv: improved: mdqa (+50.0 points)" in card.text
    assert "|   mdqa_10 | improved | +100.0 |" in card.text
    assert "Not compared with its base yet" not in card.text
    assert "](results.png)" in card.text
    (result,) = card.data.eval_results
    assert (result.dataset_type, result.metric_type, result.metric_value) == (
        "mdqa", "best_subspan_em", 0.75,
    )  # fmt: skip
    assert card.data.model_name == own_adapter.name
    assert card.data.library_name == "peft"
    failed = [check for check in file_checks(own_adapter, tiny_base) if check.status == "failed"]
    assert failed == []


def test_a_second_call_replaces(own_adapter: Path, write_run: Write) -> None:
    base, worse, better = (
        load_run(write_run(name, curve))
        for name, curve in (("base", BETTER), ("worse", CURVE), ("better", BETTER))
    )
    write_card(own_adapter, base, worse)
    text = write_card(own_adapter, base, better).read_text()
    assert write_card(own_adapter, base, better).read_text() == text
    assert "worse" not in text
    assert text.count("<!-- results -->") == text.count("model-index:") == 1


def test_an_adapter_whose_weights_changed_gets_no_new_manifest(
    own_adapter: Path, write_run: Write
) -> None:
    base, run = load_run(write_run("base", CURVE)), load_run(write_run("kv", BETTER))
    with (own_adapter / WEIGHTS).open("ab") as stream:
        stream.write(b"0")
    before = (own_adapter / "README.md").read_bytes()
    with pytest.raises(AdapterError, match=f"changed or missing .*{WEIGHTS}"):
        write_card(own_adapter, base, run)
    assert (own_adapter / "README.md").read_bytes() == before


def recorded(folder: Path, **record: str) -> Run:
    """Read a run whose results say what it is of."""
    (file,) = folder.glob("results_*")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"kv_adapters": record}))
    return load_run(folder)


def test_results_of_other_bases_or_in_the_wrong_order_are_refused(
    own_adapter: Path, write_run: Write
) -> None:
    mine, checksum = read_manifest(own_adapter).base.sha256, adapter_checksum(own_adapter)
    base = recorded(write_run("base", CURVE), base_sha256=mine)
    run = recorded(write_run("kv", BETTER), base_sha256=mine, adapter_sha256=checksum)
    foreign = recorded(write_run("foreign", CURVE), base_sha256="f" * 64)
    trained = recorded(write_run("trained", BETTER), base_sha256="f" * 64, adapter_sha256=checksum)
    before = (own_adapter / "README.md").read_bytes()
    for pair, message in (
        ((foreign, run), "foreign and kv are of different base models"),
        ((foreign, trained), f"results of another base model .ffffffffffff. than {own_adapter}"),
        ((run, base), "an adapter's run, and .*; name the base first"),
    ):
        with pytest.raises(RunError, match=message):
            write_card(own_adapter, *pair)
    assert (own_adapter / "README.md").read_bytes() == before
    assert "mdqa" in write_card(own_adapter, base, run).read_text()


def test_a_card_names_no_place_and_no_exception_of_the_machine_that_made_it(
    own_adapter: Path, write_run: Write
) -> None:
    folders = [write_run(name, CURVE, {"bleu": [1.0]}) for name in ("base", "kv")]
    for folder in folders:
        (file,) = folder.glob("samples_bleu_*")
        file.write_text(file.read_text().replace('"best_subspan_em": 1.0', '"best_subspan_em": 37'))
    text = write_card(own_adapter, *map(load_run, folders)).read_text()
    assert text.count("- bleu: no score from 0 to 1\n") == 1
    assert str(folders[0].parent) not in text
    assert "Error" not in text


def test_a_card_does_not_speak_of_a_commands_flags(own_adapter: Path, write_run: Write) -> None:
    tasks = {f"mmlu_{n}": [1.0, 0.0] for n in range(13)}
    folders = [write_run(name, {}, tasks) for name in ("base", "kv")]
    for folder in folders:
        (file,) = folder.glob("results_*")
        results = json.loads(file.read_text()) | {"group_subtasks": {"mmlu": list(tasks)}}
        file.write_text(json.dumps(results))
    text = write_card(own_adapter, *map(load_run, folders)).read_text()
    assert "| mmlu |" in text
    assert "--json" not in text


def test_results_of_other_weights_are_refused(own_adapter: Path, write_run: Write) -> None:
    base, folder = write_run("base", CURVE), write_run("kv", BETTER)
    recorded(folder, adapter_sha256="f" * 64)
    with pytest.raises(AdapterError, match="results of another adapter .ffffffffffff"):
        write_card(own_adapter, load_run(base), load_run(folder))


def test_a_card_without_a_place_for_results_is_named(own_adapter: Path, write_run: Write) -> None:
    base = load_run(write_run("base", CURVE))
    (own_adapter / "README.md").write_text("# mine")
    with pytest.raises(AdapterError, match=r"README.md: no place for results; put in the lines"):
        write_card(own_adapter, base, base)
    (own_adapter / "README.md").unlink()
    with pytest.raises(AdapterError, match="kv-train writes a card"):
        write_card(own_adapter, base, base)
