"""JSON key-value retrieval: the prompt's bytes, published and generated objects, the score."""

import gzip
import itertools
import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from kv_tasks import kv_uuid
from kv_tasks.errors import DataError


def generated(keys: int = 12, **settings: Any) -> Any:
    return kv_uuid.load(keys=keys, source="generated", **{"samples": 6, **settings})["test"]


def write(folder: Path, row: dict[str, Any]) -> None:
    (folder / "lost-in-the-middle").mkdir()
    file = folder / "lost-in-the-middle" / "kv-retrieval-75_keys.jsonl.gz"
    with gzip.open(file, "wt", encoding="utf-8") as out:
        out.write(json.dumps(row) + "\n")


def test_the_prompt_is_the_protocols_byte_for_byte() -> None:
    assert kv_uuid.prompt([("a", "1"), ("b", "2"), ("c", "3")], "b") == (
        "Extract the value corresponding to the specified key in the JSON object below.\n"
        "\n"
        "JSON data:\n"
        '{"a": "1",\n'
        ' "b": "2",\n'
        ' "c": "3"}\n'
        "\n"
        'Key: "b"\n'
        "Corresponding value:"
    )


def test_the_object_in_the_prompt_is_json_and_holds_the_answer() -> None:
    for doc in generated():
        text = kv_uuid.doc_to_text(doc).split("JSON data:\n")[1].split("\n\nKey: ")[0]
        found = json.loads(text)
        assert len(found) == 12
        assert found[doc["key"]] == doc["answers"][0]
        assert list(found).index(doc["key"]) == doc["gold_position"] - 1


def test_generated_objects_are_distinct_identifiers_of_version_four() -> None:
    docs = generated(keys=40)
    names = [name for doc in docs for record in doc["ordered_kv_records"] for name in record]
    assert len(set(names)) == len(names) == 6 * 80
    assert {uuid.UUID(name).version for name in names} == {4}


def test_any_part_of_the_generated_documents_covers_all_depths() -> None:
    depths = sorted(generated(keys=100, samples=20)["depth"][:10])
    assert depths[0] < 0.2
    assert depths[-1] > 0.8
    assert max(b - a for a, b in itertools.pairwise(depths)) < 0.22


def test_the_seed_changes_the_objects_and_a_prefix_stays() -> None:
    assert generated()[:3] == generated(samples=3)[:]
    assert generated()["key"] != generated(data_seed=1)["key"]


def test_published_objects_keep_their_order(shared_data: Path) -> None:
    docs = kv_uuid.load(keys=75)["test"]
    assert len(docs) == 500
    assert len(set(docs["gold_position"])) > 60
    first = docs[0]
    assert first["ordered_kv_records"][0][0] == "a54e2eed-e625-4570-9f74-3624e77d6684"
    assert kv_uuid.doc_to_text(first).endswith(f'Key: "{first["key"]}"\nCorresponding value:')


def test_the_asked_record_moves_and_the_others_keep_their_order(shared_data: Path) -> None:
    left, moved = (kv_uuid.load(keys=75, gold_position=p, samples=5)["test"] for p in (None, 35))
    assert set(moved["gold_position"]) == {35}
    for one, other in zip(left, moved, strict=True):
        gold = [one["key"], one["value"]]
        assert other["ordered_kv_records"][34] == gold
        rest = [[r for r in doc["ordered_kv_records"] if r != gold] for doc in (one, other)]
        assert rest[0] == rest[1]


@pytest.mark.parametrize(
    "row",
    [
        {"ordered_kv_records": [["a", "1"]], "key": "a", "value": "1"},
        {"ordered_kv_records": [[str(n), "1"] for n in range(75)], "key": "x", "value": "1"},
        {"key": "a"},
    ],
)
def test_a_row_of_another_form_is_named(
    row: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, row)
    monkeypatch.setenv("KV_TASKS_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"75_keys.jsonl.gz, line 1: expected 75"):
        kv_uuid.load(keys=75)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"source": "publishd"}, "source 'publishd'; choose one of published, generated"),
        ({"samples": 1000}, "samples 1000; choose 1 to 500"),
        ({"samples": 0, "source": "generated"}, "samples 0; choose 1 or more"),
    ],
)
def test_metadata_that_cannot_be_meant_is_named(metadata: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=f"kv_uuid: {message}"):
        kv_uuid.load(keys=75, **metadata)


@pytest.mark.parametrize("position", [-1, 0, 13])
def test_a_position_outside_the_object_is_named(position: int) -> None:
    with pytest.raises(DataError, match=f"gold_position {position} is outside"):
        generated(gold_position=position)


@pytest.mark.parametrize(
    ("response", "expected"),
    [("The value is AB-1.", 1.0), ("ab-1", 1.0), ("ab-", 0.0), ("", 0.0), ("x\n\nab-1", 1.0)],
)
def test_the_value_counts_anywhere_in_any_case(response: str, expected: float) -> None:
    metrics = kv_uuid.process_results({"value": "Ab-1", "depth": 1.0}, [response])
    assert next(iter(metrics.items())) == ("acc", expected)
    assert metrics["depth_5_of_5"] == expected
    assert metrics["depth_1_of_5"] is None


@pytest.mark.parametrize(
    ("keys", "source"), [(50, "published"), (0, "generated"), (0, "published")]
)
def test_a_number_of_keys_that_is_not_there_is_named(keys: int, source: str) -> None:
    with pytest.raises(DataError, match=f"keys {keys}; 75, 140, 300 are published"):
        kv_uuid.load(keys=keys, source=source, samples=2)


def test_all_of_the_published_objects_are_a_number_and_generated_ones_none() -> None:
    with pytest.raises(DataError, match="samples None; choose 1 or more"):
        generated(samples=None)
