import itertools
import random
import re
from collections import defaultdict
from collections.abc import Iterable

import pytest

from kv_tasks.flenqa_padding import mix, places
from kv_tasks.flenqa_problems import (
    MAKERS,
    Kind,
    Problem,
    key_problem,
    names,
    padding_paragraphs,
    people,
)
from kv_tasks.flenqa_text import generated, sentences
from kv_tasks.flenqa_words import PROPERTIES

KINDS: tuple[Kind, ...] = tuple(MAKERS)
PROBLEMS = [key_problem(seed, index) for seed in (0, 1) for index in range(300)]
NAME = r"[A-Z]\w+ (?:[A-Z]\. )*[A-Z]\w+"


def of_kind(kind: Kind) -> list[Problem]:
    return [problem for problem in PROBLEMS if problem.kind == kind]


def key_sentences(paragraphs: Iterable[str]) -> list[str]:
    """What the paragraphs state, without the sentences that add nothing."""
    opening = re.compile(r".*?[a-z]\.(?= |$)")
    found = []
    for paragraph in paragraphs:
        match = opening.match(paragraph)
        assert match is not None
        found.append(match[0].removesuffix("."))
    return found


def derivable(problem: Problem, stated: Iterable[str]) -> bool:
    """Answer the question from all that is stated, by rules of this test's own."""
    facts = set(stated)
    if problem.kind == "MonoRel":
        asked = re.fullmatch(rf"Is ({NAME}) (\w+) than ({NAME})\?", problem.question)
        assert asked is not None
        above: dict[str, set[str]] = defaultdict(set)
        for fact in facts:
            told = re.fullmatch(rf"({NAME}) is (\w+) than ({NAME})", fact)
            if told is not None and told[2] == asked[2]:
                above[told[1]].add(told[3])
        reached, todo = set(), [asked[1]]
        while todo:
            new = above[todo.pop()] - reached
            reached |= new
            todo += new
        return asked[3] in reached
    if problem.kind == "PIR":
        asked = re.fullmatch(rf"Is ({NAME}) in a (.+) room\?", problem.question)
        assert asked is not None
        inside = [fact.removeprefix(f"{asked[1]} is in ") for fact in facts]
        return any(f"{room} is {asked[2]}" in facts for room in inside)
    assert problem.rule is not None
    rule = re.fullmatch(r"If X is (\w+) and X is (\w+) then X is (\w+)\.", problem.rule)
    asked = re.fullmatch(rf"({NAME}) is (\w+)", problem.question)
    assert rule is not None
    assert asked is not None
    assert rule[3] == asked[2]
    met = {f"{asked[1]} is {rule[1]}", f"{asked[1]} is {rule[2]}"}
    return met <= facts or problem.question in facts


def test_the_label_is_what_follows_from_the_key_facts() -> None:
    for problem in PROBLEMS:
        assert derivable(problem, problem.facts) is problem.label
        assert key_sentences(problem.paragraphs) == list(problem.facts)


@pytest.mark.parametrize("kind", KINDS)
def test_the_label_is_the_same_together_with_thousands_of_padding_paragraphs(kind: Kind) -> None:
    padding = key_sentences(itertools.islice(padding_paragraphs(kind, 0), 5000))
    for problem in of_kind(kind):
        assert derivable(problem, [*padding, *problem.facts]) is problem.label


def test_one_fact_alone_decides_nothing() -> None:
    for problem in PROBLEMS:
        for fact in problem.facts:
            assert not derivable(problem, [fact])


def test_a_false_property_excludes_the_stated_one() -> None:
    for problem in of_kind("PIR"):
        asked = problem.question.split(" in a ")[1].removesuffix(" room?")
        (row,) = [row for row in PROPERTIES if asked in row]
        (stated,) = {p for p in row for fact in problem.facts if fact.endswith(f" is {p}")}
        assert (stated == asked) is problem.label


def test_the_order_of_the_key_paragraphs_does_not_tell_the_label() -> None:
    for kind in ("MonoRel", "PIR"):
        for label in (True, False):
            first = [
                re.findall(NAME, problem.question.removeprefix("Is "))[0] in problem.facts[0]
                for problem in of_kind(kind)
                if problem.label is label
            ]
            assert 0.25 < sum(first) / len(first) < 0.75


def test_a_paragraph_names_nobody_but_whom_its_fact_names() -> None:
    for problem in PROBLEMS:
        for fact, paragraph in zip(problem.facts, problem.paragraphs, strict=True):
            assert paragraph.startswith(f"{fact}. ")
            assert set(re.findall(NAME, paragraph)) == set(re.findall(NAME, fact))
            assert 28 <= len(paragraph.split()) <= 50


def test_no_word_of_a_name_is_on_both_sides() -> None:
    key, padding = ({w for part in names(side) for w in part} for side in ("key", "padding"))
    assert len(key) > 150
    assert len(padding) > 150
    assert key.isdisjoint(padding)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_paragraphs_and_key_paragraphs_share_no_name(kind: Kind) -> None:
    padding = "\n".join(itertools.islice(padding_paragraphs(kind, 0), 5000))
    words = set(re.findall(r"\w+", padding))
    for problem in of_kind(kind):
        named = re.findall(NAME, "\n".join(problem.paragraphs))
        assert named
        assert words.isdisjoint(word for name in named for word in name.split())


@pytest.mark.parametrize("kind", KINDS)
def test_everyone_in_the_padding_is_in_one_problem_only(kind: Kind) -> None:
    stated = key_sentences(itertools.islice(padding_paragraphs(kind, 3), 5000))
    mentioned: dict[str, int] = defaultdict(int)
    for fact in stated:
        for name in re.findall(NAME, fact):
            mentioned[name] += 1
    assert len(stated) == len(set(stated))
    assert max(mentioned.values()) == 2


def test_names_do_not_run_out_and_do_not_recur() -> None:
    first, last = names("padding")
    count = 3 * len(first) * len(last)
    made = list(itertools.islice(people("padding", random.Random(0)), count))
    assert len(set(made)) == count


def test_six_problems_in_a_row_hold_every_kind_with_both_labels() -> None:
    for start in range(60):
        six = [(p.kind, p.label) for p in (key_problem(0, start + n) for n in range(6))]
        assert sorted(six) == sorted(itertools.product(KINDS, (False, True)))


def test_a_problem_depends_on_the_seed_and_its_number_alone() -> None:
    assert key_problem(0, 17) == PROBLEMS[17]
    assert key_problem(1, 17) == PROBLEMS[317]
    assert key_problem(0, 17).facts != key_problem(1, 17).facts


def test_no_generated_sentence_occurs_twice_nor_names_anyone() -> None:
    made = list(itertools.islice(generated("test"), 10000))
    assert len(set(made)) == 10000
    assert all(re.fullmatch(r"[A-Z][a-z' ,]+\.", sentence) for sentence in made)


def test_sentences_are_cut_where_they_end_and_not_at_abbreviations() -> None:
    text = 'Mr. J. Q. Adams came.\nDid he? "Yes!" said one. It cost 3.5 dollars\nin all. The end'
    assert sentences(text) == [
        "Mr. J. Q. Adams came.",
        "Did he?",
        '"Yes!" said one.',
        "It cost 3.5 dollars in all.",
        "The end",
    ]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ([0, 0], "A\nB\n1 2 3 4"),
        ([2, 2], "1 2\nA\nB\n3 4"),
        ([4, 4], "1 2 3 4\nA\nB"),
        ([3, 1], "1\nB\n2 3\nA\n4"),
    ],
)
def test_key_paragraphs_stand_on_lines_of_their_own(where: list[int], expected: str) -> None:
    assert mix(["A", "B"], ["1", "2", "3", "4"], " ", where) == expected


def test_places_are_the_papers() -> None:
    assert places("first", 9, [0.1, 0.9]) == [0, 0]
    assert places("middle", 9, [0.1, 0.9]) == [4, 4]
    assert places("last", 9, [0.1, 0.9]) == [9, 9]
    assert places("random", 9, [0.99, 0.1]) == [9, 1]
    assert places("random", 3, [0.0, 0.99]) == [0, 3]
