"""The training file of a fine-tuning job: nothing wrong with it is ever sent."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiktoken

from kv_tasks.errors import DataError, RecipeError
from kv_train.openai_jobs.command import fine_tune
from kv_train.openai_jobs.rows import Message, counter_of, row_tokens, training_file
from kv_train.recipe import Recipe
from kv_train.recipe_files import load_recipe

from .openai_server import MODEL, Service

UPLOAD, JOB, JOBS = (
    "POST /v1/files",
    "GET /v1/fine_tuning/jobs/ftjob-1",
    "POST /v1/fine_tuning/jobs",
)


def rows(count: int = 10, **first: Any) -> str:
    """Return a file of good rows, the second one changed."""
    made = [
        {"messages": [{"role": "user", "content": "Which?"}, {"role": "assistant", "content": "A"}]}
        for _ in range(count)
    ]
    if first:
        made[1] = first
    return "".join(json.dumps(row) + "\n" for row in made)


def with_rows(recipe_file: Path, text: str) -> Recipe:
    file = recipe_file.with_name("rows.jsonl")
    file.write_text(text)
    return load_recipe(str(recipe_file), [f"data.file={file}"])


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"messages": []}, "messages: .*at least 1 item"),
        ({"prompt": "?"}, "messages: Field required"),
        ({"messages": [{"role": "bot", "content": "?"}]}, r"messages.0.role: .*found 'bot'"),
        (
            {"messages": [{"role": "user", "content": "?"}]},
            "roles user: the last must be 'assistant'",
        ),
        ({"messages": [{"role": "assistant", "content": ""}]}, "messages.0.content: .*found ''"),
        (
            {"messages": [{"role": role, "content": "?"} for role in ("user", "system")]},
            "roles user, system: only the first may be 'system'",
        ),
        (
            {"messages": [{"role": "assistant", "content": "A", "mood": "good"}]},
            "unknown key 'messages.0.mood'; .*remove it",
        ),
    ],
)
def test_a_bad_row_is_named_by_its_line(
    service: Service, recipe_file: Path, out: Path, row: dict[str, Any], reason: str
) -> None:
    with pytest.raises(DataError, match=rf"rows.jsonl, line 2: {reason}"):
        fine_tune(with_rows(recipe_file, rows(**row)), out, yes=True)
    assert not out.exists()
    assert not service.seen


def test_rows_that_this_project_wrote_lose_what_the_service_refuses(
    service: Service, recipe_file: Path
) -> None:
    messages = json.loads(rows(1))["messages"]
    text = rows(messages=messages, context_id="a", gold_position=3, depth=0.5)
    made = training_file(with_rows(recipe_file, text))
    assert {tuple(json.loads(line)) for line in made.text.splitlines()} == {("messages",)}


def test_too_few_rows_and_rows_too_long_are_refused(service: Service, recipe_file: Path) -> None:
    with pytest.raises(DataError, match=r"rows.jsonl: 9 rows, fewer than the 10 .*; add rows"):
        training_file(with_rows(recipe_file, rows(9)))
    with pytest.raises(DataError, match="paper: 9 rows, .*; raise data.samples"):
        training_file(load_recipe(str(recipe_file), ["data.samples=9"]))
    with pytest.raises(DataError, match=r"generated row 1: about \d+ tokens, more than openai.con"):
        training_file(load_recipe(str(recipe_file), ["openai.context=100"]))


def test_each_trainer_refuses_the_recipe_of_the_other(recipe_file: Path, tmp_path: Path) -> None:
    local = load_recipe("smollm2-135m-1k")
    with pytest.raises(RecipeError, match="no 'openai' section; .*kv-train run"):
        training_file(local)
    with pytest.raises(RecipeError, match=r"data.tokens 900: .*use data.dictionaries instead"):
        overrides = ["data.dictionaries=null", "data.tokens=900"]
        training_file(load_recipe(str(recipe_file), overrides))
    done = subprocess.run(
        [sys.executable, "-m", "kv_train", "run", str(recipe_file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert f"run: kv-train openai {recipe_file}" in done.stderr.replace("\n", " ")


def test_tokens_are_counted_as_the_cookbook_does(
    service: Service, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks = {bytes([byte]): byte for byte in range(256)}
    encoding = tiktoken.Encoding(
        "bytes", pat_str=r"(?s:.)", mergeable_ranks=ranks, special_tokens={"<|endoftext|>": 256}
    )
    monkeypatch.setitem(tiktoken.registry.ENCODINGS, "cl100k_base", encoding)
    counter = counter_of(MODEL)
    assert (counter.rule, counter.exact) == ("bytes", True)
    messages = [
        Message(role="user", name="Ann", content="Hi <|endoftext|>"),
        Message(role="assistant", content="Hello"),
    ]
    assert row_tokens(messages, counter.count) == (3 + 4 + 1 + 3 + 16) + (3 + 9 + 5) + 3
    made = training_file(recipe)
    assert recipe.openai is not None
    assert made.dollars(recipe.openai) == pytest.approx(sum(made.tokens) * 3 * 8 / 1e6)


# Counts of cl100k_base.
@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Dictionary [1] {(297, 943, 408): 3099, (775, 238, 297): 7196}", 30),
        ("Dictionary [2] {2931: 8364, 184: 5620, 77: 1}", 25),
        ("Wilhelm Conrad Röntgen received the first Nobel Prize in Physics in 1901.", 19),
    ],
)
def test_the_estimate_is_near_the_count(service: Service, text: str, tokens: int) -> None:
    counter = counter_of(MODEL)
    assert not counter.exact
    assert tokens <= counter.count(text) <= 1.06 * tokens
