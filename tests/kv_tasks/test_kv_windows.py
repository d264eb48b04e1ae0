"""Haystacks that fill a window, sweeps over one haystack, and the cache that keeps both."""

import hashlib
import itertools
import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from kv_tasks import cache, kv_simple, kv_sweep
from kv_tasks.dictionaries import Kind
from kv_tasks.errors import DataError
from kv_tasks.kinds import KINDS
from kv_tasks.kv_simple import SIMPLE
from kv_tasks.kv_windows import Fitted, fitted_contexts
from kv_tasks.windows import Window

BYTES = """
import hashlib, sys
from kv_tasks.kinds import KINDS
from kv_tasks.kv_windows import fitted_contexts
from kv_tasks.windows import Window
text = ""
for kind in KINDS.values():
    window = Window(2048, sys.argv[1], kind.answer_tokens)
    for made in fitted_contexts(kind, window, split="train", seed=0, count=3, questions=2):
        text += "".join(made.context.prompt(n, template=True) for n in made.context.needles)
print(hashlib.sha256(text.encode()).hexdigest())
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KV_TASKS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def fitted(kind: Kind, window: Window, count: int, **settings: Any) -> list[Fitted]:
    chosen: dict[str, Any] = {"split": "train", "seed": 0, **settings}
    return list(fitted_contexts(kind, window, count=count, **chosen))


@pytest.mark.parametrize("tokens", [1024, 3000, 8192])
@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_a_window_is_kept_and_one_more_dictionary_would_hardly_fit(
    kind: Kind, tokens: int, tiny_folder: Path
) -> None:
    window = Window(tokens, str(tiny_folder), kind.answer_tokens)
    for made in fitted(kind, window, 6):
        context = made.context
        (needle,) = context.needles
        measured = window.measure(context.prompt(needle, template=True))
        line = measured / len(context.dictionaries)
        assert made.length == measured
        assert 0 <= tokens - kind.answer_tokens - measured < 2.5 * line
        for gold in needle.golds:
            assert (gold.key, gold.value) in context.dictionaries[gold.dictionary - 1]


def test_all_questions_of_a_haystack_fit_the_window(tiny_folder: Path) -> None:
    window = Window(2048, str(tiny_folder), SIMPLE.answer_tokens)
    for made in fitted(SIMPLE, window, 4, questions=8):
        prompts = [made.context.prompt(n, template=True) for n in made.context.needles]
        assert len(prompts) == 8
        assert max(map(window.measure, prompts)) == made.length <= 2048 - SIMPLE.answer_tokens
        keys = Counter(key for d in made.context.dictionaries for key, _ in d)
        assert all(keys[n.golds[0].key] == 1 for n in made.context.needles)


def test_the_demo_models_windows_are_nearly_full(demo_model: Path) -> None:
    for tokens in (4096, 16384):
        window = Window(tokens, str(demo_model), SIMPLE.answer_tokens)
        for made in fitted(SIMPLE, window, 3, placement="even"):
            assert tokens - 150 < made.length + SIMPLE.answer_tokens <= tokens


def test_a_window_that_cannot_hold_the_questions_is_refused(tiny_folder: Path) -> None:
    with pytest.raises(DataError, match="a window of 120 tokens: the prompt without any line"):
        fitted(SIMPLE, Window(120, str(tiny_folder), 64), 1)
    with pytest.raises(DataError, match="a window of 700 tokens holds fewer than 30 lines"):
        fitted(SIMPLE, Window(700, str(tiny_folder), 64), 1, questions=30)


def test_a_window_beside_a_number_of_dictionaries_is_refused(tiny_folder: Path) -> None:
    window = {"tokens": 1024, "samples": 1, "tokenizer": str(tiny_folder)}
    with pytest.raises(DataError, match="tokens 1024 and dictionaries 85: choose one"):
        kv_simple.load(dictionaries=85, **window)


def test_context_number_i_does_not_depend_on_where_one_begins(tiny_folder: Path) -> None:
    window = Window(1024, str(tiny_folder), SIMPLE.answer_tokens)
    assert fitted(SIMPLE, window, 5)[3:] == fitted(SIMPLE, window, 2, start=3)


def test_windows_have_the_same_bytes_in_any_process(tiny_folder: Path) -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-c", BYTES, str(tiny_folder)],
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1
    assert len(digests.pop().strip()) == hashlib.sha256().digest_size * 2


def test_a_windows_task_is_built_once_and_read_again(
    tiny_folder: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows(**changes: Any) -> Any:
        settings = {"samples": 3, "tokens": 1024, "tokenizer": str(tiny_folder), **changes}
        return kv_simple.load(**settings)["test"][:]

    first = rows()
    assert len(list((own_cache / "documents").iterdir())) == 1
    with monkeypatch.context() as broken:
        broken.setattr("kv_tasks.kv_documents.fitted_contexts", lambda *_, **__: 1 / 0)
        assert rows() == first
        for change in ({"data_seed": 1}, {"tokens": 1025}, {"samples": 4}, {"template": False}):
            with pytest.raises(ZeroDivisionError):
                rows(**change)


def test_the_cache_tells_tokenizers_apart_by_what_they_do(tiny_tokenizer: Any) -> None:
    digest = cache.tokenizer_digest(tiny_tokenizer)
    tiny_tokenizer(["a", "bb"], padding=True)
    assert cache.tokenizer_digest(tiny_tokenizer) == digest
    template, tiny_tokenizer.chat_template = tiny_tokenizer.chat_template, None
    assert cache.tokenizer_digest(tiny_tokenizer) != digest
    tiny_tokenizer.chat_template = template


def test_a_sweep_asks_for_every_dictionary_of_one_haystack(tiny_folder: Path) -> None:
    docs = kv_sweep.load(tokens=2048, pretrained=str(tiny_folder))["test"]
    prompts = [kv_sweep.doc_to_text(doc) for doc in docs]
    haystacks = {prompt.split("\n\nAbove is")[0] for prompt in prompts}
    assert len(haystacks) == 1
    numbers = re.findall(r"^Dictionary \[(\d+)\]", haystacks.pop(), re.MULTILINE)
    assert sorted(docs["gold_position"]) == list(range(1, len(numbers) + 1))
    assert len(set(docs["question_id"])) == len(docs)
    window = Window(2048, str(tiny_folder), SIMPLE.answer_tokens)
    assert max(map(window.measure, prompts)) <= 2048 - SIMPLE.answer_tokens
    for doc, prompt in zip(docs, prompts, strict=True):
        (gold,) = doc["golds"]
        assert len(re.findall(rf"[{{ ]{gold['key'][0]}: ", prompt)) == 1
        assert doc["gold"] in prompt
        assert kv_simple.process_results(doc, doc["answers"])["exact_match"] == 1.0


@pytest.mark.parametrize("limit", [5, 10, 20])
def test_any_part_of_a_sweep_covers_all_depths(limit: int, tiny_folder: Path) -> None:
    docs = kv_sweep.load(tokens=4096, pretrained=str(tiny_folder))["test"]
    depths = sorted(docs["depth"][:limit])
    gaps = [after - before for before, after in itertools.pairwise([0.0, *depths, 1.0])]
    assert max(gaps) < 2.2 / limit


def test_short_numbers_lie_at_every_depth_of_a_long_sweep() -> None:
    asked = [needle.golds[0] for needle in kv_sweep.haystack(131072, 0, 0, 3000).needles]
    for numbers in ([gold.key for gold in asked], [gold.value for gold in asked]):
        short = [len(str(number)) == 3 for number in numbers]
        fifths = [sum(short[start : start + 600]) / 600 for start in range(0, 3000, 600)]
        assert max(fifths) - min(fifths) < 0.08
        assert 0.1 < sum(short) / 3000 < 0.2


def test_a_sweeps_prompts_do_not_depend_on_the_global_random_state(tiny_folder: Path) -> None:
    random.seed(1)
    first = kv_sweep.load(tokens=1024, pretrained=str(tiny_folder))["test"][:]
    random.seed(2)
    kv_sweep.haystack.cache_clear()
    assert kv_sweep.load(tokens=1024, pretrained=str(tiny_folder))["test"][:] == first
