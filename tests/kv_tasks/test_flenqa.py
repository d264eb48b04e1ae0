"""FLenQA: the published rows, the prompts to the byte, and the harness's view of both."""

import io
import itertools
import json
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kv_tasks import flenqa
from kv_tasks.errors import DataError

SIZES = (250, 500, 1000, 2000, 3000)


def published_rows(problems: int = 4) -> Iterator[dict[str, Any]]:
    """Rows of the published form: each problem at all lengths, paddings and dispersions."""
    made = itertools.product(flenqa.SETS, range(problems), (True, False))
    for number, (dataset, problem, label) in enumerate(made, start=1):
        rule = dataset == "Simplified RuleTaker"
        key = [f"Fact one of {number}.", f"The fact two of {number}."]
        for size, padding, dispersion in itertools.product(
            SIZES, ("books", "same", "identity2"), flenqa.DEPTHS
        ):
            yield {
                "global_sample_id": number,
                "sample_id": problem,
                "label": str(label),
                "dataset": dataset,
                "facts": None if rule else key,
                "statement": key if rule else None,
                "rule": ["If X is red then X is big."] if rule else None,
                "assertion/question": f"Is it so in {number}?",
                # What some programs take for ends of lines, and JSON does not.
                "mixin": f"{padding}\u2028{key[0]} {dispersion}\u0085{key[1]} {size}",
                "padding_type": padding,
                "dispersion": dispersion,
                "ctx_size": size,
            }


def published_lines() -> str:
    """Return the rows as the source writes them: nothing but line breaks is escaped."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in published_rows())


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the rows as JSON lines; returns the file."""
    file = tmp_path / "flenqa" / "FLenQA.jsonl"
    file.parent.mkdir()
    file.write_text(published_lines(), "utf-8")
    monkeypatch.setenv("KV_TASKS_DATA", str(tmp_path))
    return file


def load(**settings: Any) -> Any:
    return flenqa.load(**{"ctx_size": 500, **settings})["test"]


def test_the_six_prompts_are_the_published_ones_to_the_byte(shared_data: Path) -> None:
    published = json.loads((shared_data / "flenqa" / "prompts.json").read_text("utf-8"))
    own = flenqa.PROMPTS | {f"{name}_cot": text for name, text in flenqa.PROMPTS_COT.items()}
    assert own == published


def test_a_prompt_is_the_template_with_the_rows_own_texts(data: Path) -> None:
    for doc in load():
        prompt = flenqa.doc_to_text(doc)
        assert prompt.count(doc["mixin"]) == 1
        assert doc["assertion/question"] in prompt
        assert prompt.endswith("\n")
        assert "{" not in prompt
    ruletaker = next(doc for doc in load() if doc["dataset"] == "Simplified RuleTaker")
    # The source formats whatever the field holds; a list shows its brackets.
    assert "\nRule: ['If X is red then X is big.']\n" in flenqa.doc_to_text(ruletaker)
    assert flenqa.doc_to_text_cot(ruletaker).count("Show your steps") == 1


def test_braces_in_a_text_are_left_alone(data: Path) -> None:
    doc = {**load()[0], "mixin": "a {rule} of {braces}"}
    assert "a {rule} of {braces}" in flenqa.doc_to_text(doc)


def test_a_length_holds_both_paddings_at_random_places_and_nothing_else(data: Path) -> None:
    docs = load(ctx_size=1000)
    assert set(docs["ctx_size"]) == {1000}
    assert set(docs["dispersion"]) == {"random"}
    assert Counter(docs["padding_type"]) == {"books": 24, "same": 24}
    assert set(load(dispersion=None)["dispersion"]) == set(flenqa.DEPTHS)
    assert set(load(dispersion="middle")["depth"]) == {0.5}


@pytest.mark.parametrize("limit", [12, 24, 36])
def test_any_part_holds_sets_labels_and_paddings_equally(data: Path, limit: int) -> None:
    docs = load()[:limit]
    for field in ("dataset", "label", "padding_type"):
        assert len(set(Counter(docs[field]).values())) == 1, field
    assert set(load()[:3]["dataset"]) == set(flenqa.SETS)
    assert set(load()[:6]["label"]) == {"True", "False"}


def test_a_part_asks_as_many_problems_as_it_can(data: Path) -> None:
    assert len(set(load()[:24]["question_id"])) == 24
    assert set(Counter(load()["question_id"]).values()) == {2}  # once a padding
    assert len(set(load(dispersion=None)[:48]["question_id"])) == 24


def test_every_length_asks_the_same_problems_in_the_same_order(data: Path) -> None:
    orders = [load(ctx_size=size)["question_id"] for size in SIZES]
    assert all(order == orders[0] for order in orders)
    assert load(samples=10)["question_id"] == orders[0][:10]


@pytest.mark.parametrize("member", ["FLenQA.jsonl", "FLenQA/FLenQA.jsonl", "data"])
def test_the_zip_file_reads_like_its_member(data: Path, member: str) -> None:
    plain = load()[:]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(data, member)
        archive.writestr(f"__MACOSX/._{Path(member).name}", b"")
    data.with_name("FLenQA.zip").write_bytes(packed.getvalue())
    data.unlink()
    assert load()[:] == plain


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "Maybe"}, "line 1: label is 'Maybe', expected one of True, False"),
        ({"dataset": "Other"}, "line 1: dataset is 'Other', expected one of MonoRel"),
        ({"dispersion": None}, "line 1: dispersion is None"),
        ({"mixin": None}, "line 1: mixin is None, expected text"),
        ({"facts": []}, "line 1: facts is \\[\\], expected a list"),
        ({"facts": [7, "Seven."]}, "line 1: facts is \\[7, 'Seven.'\\], expected a list"),
        ({"padding_type": None}, "line 1: padding_type is None, expected text"),
        (
            {"dataset": "Simplified RuleTaker", "statement": ["Bo is red."]},
            "line 1: rule is None, expected text or a list",
        ),
        ({"ctx_size": "long"}, "line 1: ctx_size is 'long', expected a number"),
    ],
)
def test_a_row_of_another_form_is_named(data: Path, change: dict[str, Any], message: str) -> None:
    row = {**next(published_rows()), **change}
    data.write_text(json.dumps(row) + "\n", "utf-8")
    with pytest.raises(DataError, match=message):
        load()


def test_files_that_cannot_be_read_are_named(data: Path) -> None:
    data.write_text("{}\nno json\n", "utf-8")
    with pytest.raises(DataError, match="line 1: mixin is None"):
        load()
    data.unlink()
    with pytest.raises(DataError, match="flenqa/FLenQA.zip is not in it"):
        load()
    data.with_name("FLenQA.zip").write_bytes(b"no zip")
    with pytest.raises(DataError, match=r"not a whole zip file .*; fetch FLenQA\.zip again"):
        load()


def test_a_zip_file_with_flipped_bits_is_named(data: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(data, "FLenQA.jsonl")
    data.unlink()
    for place in (60, 600):
        bits = bytearray(packed.getvalue())
        bits[place] ^= 0xFF
        data.with_name("FLenQA.zip").write_bytes(bits)
        with pytest.raises(DataError, match="not a whole zip file"):
            load()


def test_a_length_that_is_not_there_is_named(data: Path) -> None:
    with pytest.raises(DataError, match="no row has ctx_size 123"):
        load(ctx_size=123)


@pytest.mark.parametrize("label", [True, False, "True", "False"])
def test_a_label_may_be_a_truth_value_or_its_name(data: Path, label: bool | str) -> None:
    data.write_text(json.dumps({**next(published_rows()), "label": label}) + "\n", "utf-8")
    (doc,) = load(ctx_size=250, dispersion="first")
    assert (doc["label"], doc["answers"]) == (str(label), [str(label).lower()])
    assert flenqa.process_results(doc, [f"{label}"])["acc"] == 1.0


def test_metrics_come_in_order_and_count_a_document_in_its_own_set(data: Path) -> None:
    doc = next(doc for doc in load() if doc["dataset"] == "PIR" and doc["label"] == "False")
    metrics = flenqa.process_results(doc, ["I refuse."])
    assert list(metrics) == ["acc", "other", "acc_monorel", "acc_pir", "acc_ruletaker"]
    assert list(metrics.values()) == [0.0, 1.0, None, 0.0, None]
    steps = flenqa.process_results_cot(doc, [f"{doc['facts'][0]} So it is false."])
    assert (steps["acc"], steps["fact_coverage"], steps["early_response"]) == (1.0, 0.5, 0.0)
    rule = next(doc for doc in load() if doc["dataset"] == "Simplified RuleTaker")
    assert flenqa.process_results_cot(rule, [" ".join(rule["statement"])])["fact_coverage"] == 1.0


@pytest.mark.parametrize("samples", [0, -1, 99999])
def test_a_number_of_documents_that_is_not_there_is_named(data: Path, samples: int) -> None:
    with pytest.raises(DataError, match=f"flenqa: samples {samples}; choose 1 to"):
        flenqa.load(ctx_size=250, samples=samples)
