"""The generator of dictionary key-value prompts."""

import hashlib
import subprocess
import sys
from collections import Counter

import pytest

from kv_tasks.dictionaries import Context, Needle, contexts, training_rows
from kv_tasks.errors import UsageError

DIGEST = """
import hashlib
from kv_tasks.dictionaries import contexts
made = contexts(split="train", seed=3, count=20, dictionaries=20, questions=4)
text = "".join(c.prompt(n, template=True) + n.answer for c in made for n in c.needles)
print(hashlib.sha256(text.encode()).hexdigest())
"""


def make(count: int, **changes: object) -> list[Context]:
    settings: dict = {"split": "train", "seed": 0, "dictionaries": 85, **changes}
    return list(contexts(count=count, **settings))


def test_the_prompt_is_the_papers_to_the_byte() -> None:
    context = Context(
        "c", (((122, 765), (4548, 1475), (4818, 4782)), ((526, 290), (2931, 8364))), ()
    )
    needle = Needle(key=2931, value=8364, dictionary=2)
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
        assert len({needle.dictionary for needle in context.needles}) == questions
        for needle in context.needles:
            gold = context.dictionaries[needle.dictionary - 1]
            assert (needle.key, needle.value) in gold
            assert len(gold) == 3
            assert keys[needle.key] == 1
            assert values[needle.value] == 1
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
    places = Counter(c.needles[0].dictionary for c in make(4000, dictionaries=100))
    first, early = places[1] / 4000, sum(places[n] for n in range(1, 6)) / 4000
    assert 0.05 < first < 0.08  # 5 % + a fifth of 3 % + a hundredth of the rest
    assert 0.11 < early < 0.15  # 8 % + a twentieth of the rest


@pytest.mark.parametrize("limit", [16, 24, 40])
def test_even_placement_covers_all_depths_at_any_limit(limit: int) -> None:
    places = [c.needles[0].dictionary for c in make(limit, dictionaries=16, placement="even")]
    quarters = Counter((place - 1) // 4 for place in places)
    assert max(quarters.values()) - min(quarters.values()) <= 3


def test_training_and_evaluation_prompts_never_meet() -> None:
    train = {c.prompt(c.needles[0], template=True) for c in make(200, dictionaries=4)}
    held_out = {
        c.prompt(c.needles[0], template=True) for c in make(200, dictionaries=4, split="eval")
    }
    assert len(train) == len(held_out) == 200
    assert not train & held_out


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


def test_rows_of_a_context_differ_after_the_haystack_only() -> None:
    (context,) = make(1, questions=8)
    rows = list(training_rows(context, template=True))
    prompts = [row["messages"][0]["content"] for row in rows]
    shared = prompts[0][: prompts[0].index("Report the value of key ") + 24]
    assert len(rows) == 8
    assert all(prompt.startswith(shared) for prompt in prompts)
    assert {row["context_id"] for row in rows} == {context.context_id}


def test_more_questions_than_dictionaries_are_refused() -> None:
    with pytest.raises(UsageError, match="8 questions a context need as many dictionaries"):
        make(1, dictionaries=4, questions=8)
