"""The generator of dictionary key-value prompts."""

import hashlib
import random
import re
import subprocess
import sys
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from kv_tasks import kv_multi_subkey
from kv_tasks.dictionaries import Context, Gold, Kind, contexts, distinct, gold_places
from kv_tasks.errors import UsageError
from kv_tasks.kinds import KINDS
from kv_tasks.kv_simple import SIMPLE

DIGEST = """
import hashlib
from kv_tasks.dictionaries import contexts
from kv_tasks.kinds import KINDS
text = ""
for kind in KINDS.values():
    made = contexts(kind, split="train", seed=3, count=20, dictionaries=20, questions=4)
    text += "".join(c.prompt(n, template=True) + n.answer for c in made for n in c.needles)
print(hashlib.sha256(text.encode()).hexdigest())
"""


def make(count: int, kind: Kind = SIMPLE, **changes: object) -> list[Context]:
    settings: dict = {"split": "train", "seed": 0, "dictionaries": 85, **changes}
    return list(contexts(kind, count=count, **settings))


def test_the_prompt_is_the_papers_to_the_byte() -> None:
    context = Context(
        "c", (((122, 765), (4548, 1475), (4818, 4782)), ((526, 290), (2931, 8364))), ()
    )
    needle = SIMPLE.needle(random.Random(0), [Gold(2931, 8364, dictionary=2)])
    assert context.prompt(needle, template=False) == (
        "Do a task using the list of dictionaries below.\n"
        "\n"
        "Dictionary [1] {122: 765, 4548: 1475, 4818: 4782}\n"
        "Dictionary [2] {526: 290, 2931: 8364}\n"
        "\n"
        "Above is a list of dictionaries such that each key and value is an integer. "
        "Report the value of key 2931 and the dictionary it is in."
    )
    assert context.prompt(needle, template=True).endswith(
        "the dictionary it is in. Answer in the following template:\n"
        "The value of key 2931 is <fill-in-value> and it is in Dictionary "
        "[<fill-in-dictionary-name>]."
    )
    assert needle.answer == "The value of key 2931 is 8364 and it is in Dictionary [2]."


@pytest.mark.parametrize("questions", [1, 8])
def test_each_needle_occurs_once_and_no_dictionary_loses_a_pair(questions: int) -> None:
    for context in make(60, questions=questions):
        pairs = [pair for dictionary in context.dictionaries for pair in dictionary]
        keys, values = Counter(k for k, _ in pairs), Counter(v for _, v in pairs)
        assert len(context.needles) == questions
        golds = [gold for needle in context.needles for gold in needle.golds]
        assert len({gold.dictionary for gold in golds}) == questions
        for gold in golds:
            held = context.dictionaries[gold.dictionary - 1]
            assert (gold.key, gold.value) in held
            assert len(held) == 3
            assert keys[gold.key] == 1
            assert values[gold.value] == 1
        assert {len(dictionary) for dictionary in context.dictionaries} <= {3, 4}
        assert all(len(dict(d)) == len(d) for d in context.dictionaries)


def test_integers_have_three_or_four_digits_equally_often() -> None:
    digits = Counter(
        len(str(number))
        for context in make(40)
        for dictionary in context.dictionaries
        for pair in dictionary
        for number in pair
    )
    assert set(digits) == {3, 4}
    assert 0.48 < digits[3] / digits.total() < 0.52


def test_the_papers_placement_favours_the_first_dictionaries() -> None:
    places = Counter(c.needles[0].golds[0].dictionary for c in make(4000, dictionaries=100))
    first, early = places[1] / 4000, sum(places[n] for n in range(1, 6)) / 4000
    assert 0.05 < first < 0.08  # 5 % + a fifth of 3 % + a hundredth of the rest
    assert 0.11 < early < 0.15  # 8 % + a twentieth of the rest


def first_places(share: float) -> set[int]:
    """Return where the paper's placement puts first needles that drew ``share``."""
    draw = random.Random(0)
    rng: Any = SimpleNamespace(random=lambda: share, randrange=draw.randrange, sample=draw.sample)
    return {gold_places(rng, 0, 85, 1, "paper")[0] for _ in range(200)}


def test_the_papers_shares_begin_and_end_where_it_says() -> None:
    assert first_places(0.049) == {0}
    assert first_places(0.05) == first_places(0.079) == set(range(5))
    assert len(first_places(0.08)) > 50


def test_further_golds_of_a_context_are_spread_over_all_dictionaries() -> None:
    places = Counter(
        place
        for n in range(200)
        for place in gold_places(random.Random(n), n, 20, 4, "uniform")[1:]
    )
    assert max(places.values()) < 60


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_a_gold_pair_stands_first_in_its_dictionary_as_well_as_last(kind: Kind) -> None:
    places: Counter[float] = Counter()
    for context in make(60, kind, dictionaries=12):
        gold = context.needles[0].golds[0]
        held = context.dictionaries[gold.dictionary - 1]
        places[held.index((gold.key, gold.value)) / (len(held) - 1)] += 1
    assert min(places[0.0], places[1.0]) > 10


def test_depth_is_0_in_the_first_dictionary_and_1_in_the_last() -> None:
    context = Context("c", ((),) * 5, ())
    assert [context.depth(Gold(1, 1, place)) for place in (1, 3, 5)] == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("limit", [16, 24, 40])
def test_even_placement_covers_all_depths_at_any_limit(limit: int) -> None:
    places = [
        c.needles[0].golds[0].dictionary for c in make(limit, dictionaries=16, placement="even")
    ]
    quarters = Counter((place - 1) // 4 for place in places)
    assert max(quarters.values()) - min(quarters.values()) <= 3


def test_training_and_evaluation_prompts_never_meet() -> None:
    train = {c.prompt(c.needles[0], template=True) for c in make(200, dictionaries=4)}
    held_out = {
        c.prompt(c.needles[0], template=True) for c in make(200, dictionaries=4, split="eval")
    }
    assert len(train) == len(held_out) == 200
    assert not train & held_out


def test_no_two_splits_meet_where_golds_are_even_over_the_dictionaries() -> None:
    prompts = {
        context.prompt(context.needles[0], template=True)
        for split in ("train", "validation", "eval")
        for context in make(20, split=split, dictionaries=4, placement="even")
    }
    assert len(prompts) == 60


def test_the_same_arguments_give_the_same_bytes_in_any_process() -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-c", DIGEST],
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1
    assert len(digests.pop().strip()) == hashlib.sha256().digest_size * 2


def test_more_questions_than_dictionaries_are_refused() -> None:
    with pytest.raises(UsageError, match="8 questions a context need 8 dictionaries"):
        make(1, dictionaries=4, questions=8)


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_an_answer_is_what_parse_reads_and_the_template_has_its_blanks(kind: Kind) -> None:
    for context in make(20, kind, dictionaries=kind.dictionaries, questions=2):
        for needle in context.needles:
            expected = [(gold.key, gold.value, gold.dictionary) for gold in needle.golds]
            assert kind.parse(needle.answer) == expected
            assert len(needle.golds) == kind.golds_per_question
            assert kind.parse(needle.template) == []
            assert needle.template.count("<fill-in-dictionary-name>") == kind.golds_per_question
            blanks = [needle.template.count(f"<fill-in-{what}>") for what in ("key", "value")]
            assert sum(blanks) >= kind.golds_per_question
            given = set(re.findall(r"\d+", needle.question))
            for gold in needle.golds:
                assert (gold.key, gold.value) in context.dictionaries[gold.dictionary - 1]
                key = gold.key if isinstance(gold.key, tuple) else (gold.key,)
                assert given >= set(map(str, key)) or str(gold.value) in given


def test_multi_subkey_asks_as_the_paper_does_and_no_other_key_has_all_subkeys() -> None:
    kind = KINDS["multi-subkey"]
    sharing = total = 0
    for context in make(40, kind, dictionaries=49):
        (needle,) = context.needles
        (gold,) = needle.golds
        assert isinstance(gold.key, tuple)
        asked = needle.question.split("integers ")[2].split(" (not")[0]
        assert sorted(map(int, asked.split(", "))) == sorted(gold.key)
        assert asked != ", ".join(map(str, gold.key))
        keys = [key for dictionary in context.dictionaries for key, _ in dictionary]
        holding = [key for key in keys if isinstance(key, tuple) and set(key) >= set(gold.key)]
        assert holding == [gold.key]
        shared = [set(gold.key) & set(key) for key in keys if isinstance(key, tuple)]
        sharing += sum(bool(both) for both in shared) - 1
        total += len(keys) - 1
        assert {len(d) for d in context.dictionaries} == {2, 3}
        assert {len(key) for key in keys if isinstance(key, tuple)} == {3, 4}
    assert 0.4 < sharing / total < 0.6


def test_the_multi_subkey_question_is_that_of_the_papers_figure() -> None:
    gold = Gold((141, 623, 616), 5617, dictionary=6)
    needle = KINDS["multi-subkey"].needle(random.Random(0), [gold])
    asked = needle.question.split("the integers ")[1].split(" (not")[0]
    assert needle.question == (
        "Above is a list of dictionaries such that each key is a tuple of integers and each value "
        f"is an integer. Report the key that contains the integers {asked} (not necessarily in "
        "order), its value, and the dictionary it is in."
    )
    assert needle.answer == (
        f"The key that contains the integers {asked} is (141, 623, 616). Its value is 5617 and it "
        "is in Dictionary [6]."
    )


def test_subkeys_are_asked_for_in_every_order_but_the_keys_own() -> None:
    orders = set()
    for context in make(80, KINDS["multi-subkey"], dictionaries=4):
        (needle,) = context.needles
        key = needle.golds[0].key
        assert isinstance(key, tuple)
        asked = needle.question.split("integers ")[2].split(" (not")[0]
        if len(key) == 3:
            orders.add(tuple(key.index(int(part)) for part in asked.split(", ")))
    assert len(orders) == 5


def test_a_key_that_holds_all_subkeys_of_an_asked_one_in_any_order_is_no_distractor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kv_multi_subkey, "_key", lambda rng: (300, 200, 100))
    rng: Any = SimpleNamespace(random=lambda: 1.0)
    assert kv_multi_subkey._distractor(rng, [(100, 200, 300)]) is None
    assert kv_multi_subkey._distractor(rng, [(100, 200, 400)]) == (300, 200, 100)


def test_no_key_that_is_asked_for_holds_all_subkeys_of_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn = iter([(100, 200, 300), (300, 100, 200), (100, 200, 300, 400), (500, 600, 700)])
    monkeypatch.setattr(kv_multi_subkey, "_key", lambda rng: next(drawn))
    golds = KINDS["multi-subkey"].golds(random.Random(0), 2)
    assert [key for key, _ in golds] == [(100, 200, 300), (500, 600, 700)]


def test_more_keys_than_there_are_is_an_error_and_no_endless_search() -> None:
    assert len(distinct(random.Random(0), 8910, (3, 4))) == 8910
    with pytest.raises(UsageError, match="9000 different keys .* 8910 is the most"):
        distinct(random.Random(0), 9000, (3, 4))
