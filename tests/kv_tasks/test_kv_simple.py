"""``kv_simple`` in the harness, and its score."""

import re
from collections import Counter
from typing import Any

import pytest

from kv_tasks import kv_multi_query, kv_multi_subkey, kv_simple
from kv_tasks.errors import KVError

from .common_fields import check_document

RIGHT = "The value of key 2931 is 8364 and it is in Dictionary [32]."


DOC = {"golds": [{"key": [2931], "value": 8364, "dictionary": 32, "depth": 0.4}]}
FIELDS = ("exact_match", "value_match", "key_match", "dictionary_match")


def score(response: str) -> tuple[float | None, ...]:
    found = kv_simple.process_results(DOC, [response])
    return tuple(found[field] for field in FIELDS)


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (RIGHT, (1.0, 1.0, 1.0, 1.0)),
        (f"\n {RIGHT}\nSomething else", (1.0, 1.0, 1.0, 1.0)),
        (RIGHT.replace("8364", "8365"), (0.0, 0.0, 1.0, 1.0)),
        (RIGHT.replace("2931", "2932"), (0.0, 1.0, 0.0, 1.0)),
        (RIGHT.replace("[32]", "[3]"), (0.0, 1.0, 1.0, 0.0)),
        (RIGHT.replace("[32]", "[321]"), (0.0, 1.0, 1.0, 0.0)),
        ("8364, dictionary 32", (0.0, 1.0, 0.0, 1.0)),
        ("18364", (0.0, 0.0, 0.0, 0.0)),
        # No other spelling of a number is the number, for one metric as for another.
        (RIGHT.replace("8364", "08364"), (0.0, 0.0, 1.0, 1.0)),
        (RIGHT.replace("8364", "８３６４"), (0.0, 0.0, 1.0, 1.0)),
        (RIGHT.replace("2931", "02931"), (0.0, 1.0, 0.0, 1.0)),
        (RIGHT.replace("[32]", "[032]"), (0.0, 1.0, 1.0, 0.0)),
        (RIGHT.replace("8364", "8" * 5000), (0.0, 0.0, 1.0, 1.0)),
        (f"I do not know.\n{RIGHT}", (0.0, 0.0, 0.0, 0.0)),
        ("", (0.0, 0.0, 0.0, 0.0)),
    ],
)
def test_scores_by_field_on_the_first_line(response: str, expected: tuple[float, ...]) -> None:
    assert score(response) == expected


def test_the_first_of_several_answers_counts() -> None:
    wrong = RIGHT.replace("8364", "1111")
    assert score(f"{RIGHT} {wrong}") == (1.0, 1.0, 1.0, 1.0)
    assert score(f"{wrong} {RIGHT}") == (0.0, 1.0, 1.0, 1.0)


def test_the_headline_metric_comes_first_and_is_a_float() -> None:
    metrics = kv_simple.process_results(DOC, [RIGHT])
    assert next(iter(metrics.items())) == ("exact_match", 1.0)


def test_documents_carry_the_common_fields_and_tolerate_foreign_metadata() -> None:
    made = kv_simple.load(
        dictionaries=85, samples=5, placement="paper", pretrained="x", max_length=99, batch_size=1
    )
    for doc in made["test"]:
        check_document(doc, where="kv_simple")
        assert doc["length"] is None
        assert 0.0 <= doc["depth"] <= 1.0
        assert doc["gold"] in doc["prompt"]
        assert kv_simple.process_results(doc, doc["answers"])["exact_match"] == 1.0


def test_golds_are_even_over_the_dictionaries_unless_asked_otherwise() -> None:
    places = kv_simple.load(samples=32, dictionaries=16)["test"]["gold_position"]
    assert set(Counter(places).values()) <= {1, 2, 3}


def test_the_evaluation_seed_changes_the_documents() -> None:
    one, two = (
        kv_simple.load(dictionaries=8, samples=3, data_seed=s)["test"]["prompt"] for s in (0, 1)
    )
    assert not set(one) & set(two)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"placement": "evn"}, "kv_simple: placement 'evn'; choose one of paper, uniform, even"),
        ({"samples": 0}, "kv_simple: samples 0; choose 1 or more"),
        ({"samples": -3}, "kv_simple: samples -3"),
        ({"samples": "5"}, "kv_simple: samples '5'; choose 1 or more"),
        ({"samples": None}, "kv_simple: samples None; choose 1 or more"),
        ({"dictionaries": 0}, "choose more dictionaries"),
    ],
)
def test_metadata_that_cannot_be_meant_is_named(metadata: dict[str, Any], message: str) -> None:
    with pytest.raises(KVError, match=re.escape(message)):
        kv_simple.load(**{"samples": 2, **metadata})


def test_an_engines_seed_does_not_change_the_documents() -> None:
    """The harness merges model arguments, such as vLLM's ``seed``, into the metadata."""
    one, two = (kv_simple.load(dictionaries=8, samples=3, seed=s)["test"]["prompt"] for s in (0, 1))
    assert list(one) == list(two)


def test_accuracy_by_depth_counts_a_document_in_its_own_fifth_only() -> None:
    metrics = kv_simple.process_results(DOC, [RIGHT])
    fifths = [metrics[f"depth_{n}_of_5"] for n in range(1, 6)]
    assert fifths == [None, None, 1.0, None, None]


def test_several_queries_are_scored_by_share_and_by_the_depth_of_each() -> None:
    docs = kv_multi_query.load(samples=3, dictionaries=20)["test"]
    for doc in docs:
        sentences = doc["answers"][0].split(". ")
        wrong = ". ".join(
            [sentences[0].replace("value of key", "value of the key"), *sentences[1:]]
        )
        metrics = kv_multi_query.process_results(doc, [wrong])
        assert metrics["exact_match"] == 0.0
        assert metrics["value_match"] == metrics["dictionary_match"] == 1.0
        right = [metrics[f"depth_{n}_of_5"] for n in range(1, 6)]
        assert min(share for share in right if share is not None) < 1.0
        assert kv_multi_query.process_results(doc, doc["answers"])["exact_match"] == 1.0


def test_several_queries_are_answered_in_the_order_asked() -> None:
    doc = kv_multi_query.load(samples=1, dictionaries=20)["test"][0]
    sentences = doc["answers"][0].removesuffix(".").split(". ")
    turned = ". ".join(reversed(sentences)) + "."
    metrics = kv_multi_query.process_results(doc, [turned])
    assert (metrics["exact_match"], metrics["value_match"]) == (0.0, 1.0)


def test_a_subkeys_answer_needs_the_keys_own_order() -> None:
    doc = kv_multi_subkey.load(samples=1)["test"][0]
    right = doc["answers"][0]
    key = str(tuple(doc["golds"][0]["key"]))
    turned = right.replace(key, str(tuple(reversed(doc["golds"][0]["key"]))))
    assert kv_multi_subkey.process_results(doc, [right])["exact_match"] == 1.0
    close = kv_multi_subkey.process_results(doc, [right.replace(", ", ",")])
    assert close["exact_match"] == close["key_match"] == 1.0
    assert kv_multi_subkey.process_results(doc, [turned])["exact_match"] == 0.0
    assert kv_multi_subkey.process_results(doc, [turned])["value_match"] == 1.0
    assert kv_multi_subkey.process_results(doc, [turned])["key_match"] == 0.0
