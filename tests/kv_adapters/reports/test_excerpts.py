"""A reader sees the gold document, its surroundings and the question; nothing is invented."""

from kv_adapters.reports.excerpts import Part, excerpt

LINES = [f"Document [{n}](Title: T{n}) Text of {n}. " + "x" * 500 for n in range(1, 21)]
PROMPT = "Write an answer.\n" + "\n".join(LINES) + "\nQuestion: who?" + " Please." * 10


def test_the_gold_document_is_marked_and_what_is_left_out_is_counted() -> None:
    parts = excerpt(PROMPT, {"gold_position": 10})
    (gold,) = (part.text for part in parts if part.kind == "gold")
    assert gold == LINES[9]
    assert parts[0].text.startswith("Write an answer.")
    assert parts[-1].text.endswith("Please.")
    left_out = sum(
        int(part.text.split()[0].replace(",", "")) for part in parts if part.kind == "left out"
    )
    shown = sum(len(part.text) for part in parts if part.kind != "left out")
    assert left_out + shown == len(PROMPT)


def test_a_gold_text_or_facts_that_the_document_names_are_marked_where_they_stand() -> None:
    prompt = "Dictionary [1] {1: 2}\nDictionary [2] {3: 4}\nReport."
    assert excerpt(prompt, {"gold": "Dictionary [2] {3: 4}", "gold_position": 2})[1] == Part(
        "gold", "Dictionary [2] {3: 4}"
    )
    parts = excerpt(
        "Ann is old. Bob. Old is wise. Is it?", {"facts": ["Ann is old.", "Old is wise."]}
    )
    assert [p.text for p in parts if p.kind == "gold"] == ["Ann is old.", "Old is wise."]


def test_a_prompt_without_a_known_gold_is_shown_by_both_ends() -> None:
    parts = excerpt("a" * 5_000 + "end", {})
    assert [part.kind for part in parts] == ["plain", "left out", "plain"]
    assert parts[-1].text.endswith("end")
    assert excerpt("", {}) == []


def test_a_gold_as_long_as_a_prompt_is_cut_not_dropped() -> None:
    (gold,) = (p for p in excerpt("y" * 10_000, {"gold": "y" * 10_000}) if p.kind == "gold")
    assert len(gold.text) == 2_000
