"""``kv_simple`` in the harness, and its score."""

import pytest

from kv_tasks import kv_simple
from kv_tasks.documents import REQUIRED_FIELDS

RIGHT = "The value of key 2931 is 8364 and it is in Dictionary [32]."


def score(response: str) -> tuple[float, float, float]:
    found = kv_simple.score(response, key=2931, value=8364, dictionary=32)
    return found["exact_match"], found["value_match"], found["dictionary_match"]


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (RIGHT, (1.0, 1.0, 1.0)),
        (f"\n {RIGHT}\nSomething else", (1.0, 1.0, 1.0)),
        (RIGHT.replace("8364", "8365"), (0.0, 0.0, 1.0)),
        (RIGHT.replace("2931", "2932"), (0.0, 1.0, 1.0)),
        (RIGHT.replace("[32]", "[3]"), (0.0, 1.0, 0.0)),
        (RIGHT.replace("[32]", "[321]"), (0.0, 1.0, 0.0)),
        ("8364, dictionary 32", (0.0, 1.0, 1.0)),
        ("18364", (0.0, 0.0, 0.0)),
        (f"I do not know.\n{RIGHT}", (0.0, 0.0, 0.0)),
        ("", (0.0, 0.0, 0.0)),
    ],
)
def test_scores_by_field_on_the_first_line(
    response: str, expected: tuple[float, float, float]
) -> None:
    assert score(response) == expected


def test_the_headline_metric_comes_first_and_is_a_float() -> None:
    doc = {"key": 2931, "value": 8364, "gold_position": 32}
    metrics = kv_simple.process_results(doc, [RIGHT])
    assert next(iter(metrics.items())) == ("exact_match", 1.0)


def test_documents_carry_the_common_fields_and_tolerate_foreign_metadata() -> None:
    made = kv_simple.load(
        dictionaries=85, samples=5, placement="paper", pretrained="x", max_length=99, batch_size=1
    )
    for doc in made["test"]:
        assert set(REQUIRED_FIELDS) <= set(doc)
        assert doc["length"] is None
        assert 0.0 <= doc["depth"] <= 1.0
        assert doc["gold"] in doc["prompt"]
        assert kv_simple.process_results(doc, doc["answers"])["exact_match"] == 1.0


def test_the_evaluation_seed_changes_the_documents() -> None:
    one, two = (
        kv_simple.load(dictionaries=8, samples=3, data_seed=s)["test"]["prompt"] for s in (0, 1)
    )
    assert not set(one) & set(two)


def test_an_engines_seed_does_not_change_the_documents() -> None:
    """The harness merges model arguments, such as vLLM's ``seed``, into the metadata."""
    one, two = (kv_simple.load(dictionaries=8, samples=3, seed=s)["test"]["prompt"] for s in (0, 1))
    assert list(one) == list(two)
