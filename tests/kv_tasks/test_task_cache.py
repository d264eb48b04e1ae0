"""The harness's cache of requests never answers for other requests; nor do seeds of others."""

import random
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lm_eval.evaluator import evaluate
from lm_eval.models.api_models import JsonChatStr, TemplateAPI
from lm_eval.tasks import TaskManager

from kv_tasks.errors import PromptTooLongError
from kv_tasks.paths import task_configs

from .fake_task import (
    FakeLM,
    Loader,
    Unasked,
    ids,
    metrics,
    run,
)


def test_other_metadata_never_meets_cached_prompts(load: Loader, requests_cache: Path) -> None:
    others: list[dict[str, Any]] = [{"tag": "a"}, {"tag": "b"}, {"sizes": [1, 2, 3]}]
    for number, metadata in enumerate(others, start=1):
        lm = FakeLM()
        results = run(load(**metadata), lm, cache_requests=True)
        assert metrics(results)["acc"] == 1.0
        assert {prompt[0] for prompt in lm.prompts} == {metadata.get("tag", "a")}
        assert len(list(requests_cache.iterdir())) == number


def test_the_same_metadata_meets_cached_prompts(
    load: Loader, requests_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(load(), cache_requests=True, limit=2)
    assert ids(first) == [0, 1]
    with monkeypatch.context() as broken:
        broken.setattr("kv_tasks.task.Task.construct_requests", lambda *_, **__: 1 / 0)
        again = run(load(), cache_requests=True)
        assert ids(again) == list(range(6))
        with pytest.raises(ZeroDivisionError):
            run(load(tag="b"), cache_requests=True)
    assert len(list(requests_cache.iterdir())) == 1


def test_cached_prompts_are_measured_and_skipped_like_new_ones(
    load: Loader, requests_cache: Path, tiny_folder: Path, lengths: list[int]
) -> None:
    model = {"tokenizer": str(tiny_folder), "too_long": "skip"}
    for limit, kept in ((lengths[1] + 9, 4), (lengths[1] + 10, 5), (lengths[1] + 9, 4)):
        results = run(load(**model, max_length=limit), cache_requests=True)
        assert len(ids(results)) == kept
        assert metrics(results)["skipped"] == 6 - kept
    assert len(list(requests_cache.iterdir())) == 1
    with pytest.raises(PromptTooLongError):
        run(load(tokenizer=str(tiny_folder), max_length=20), Unasked(), cache_requests=True)


@pytest.mark.parametrize(
    ("first", "then", "expected"),
    [
        ({"samples": {"fake": [3, 5]}}, {"limit": 2}, ["a0", "a1"]),
        ({}, {"samples": {"fake": [3, 5]}}, ["a3", "a5"]),
    ],
)
def test_chosen_samples_are_cached_apart(
    first: Any, then: Any, expected: list[str], load: Loader, requests_cache: Path
) -> None:
    run(load(), cache_requests=True, **first)
    lm = FakeLM()
    run(load(), lm, cache_requests=True, **then)
    assert [prompt.split()[0] for prompt in lm.prompts] == expected


def test_other_generation_settings_never_meet_cached_ones(
    load: Loader, requests_cache: Path
) -> None:
    run(load(), cache_requests=True)
    loaded = load()
    loaded["tasks"]["fake"].set_config("generation_kwargs", {"max_gen_toks": 77}, update=True)
    lm = FakeLM()
    run(loaded, lm, cache_requests=True)
    assert lm.settings[0]["max_gen_toks"] == 77


def test_a_changed_prompt_never_meets_the_cached_one(
    load: Loader, requests_cache: Path, tmp_path: Path
) -> None:
    run(load(), cache_requests=True)
    file = tmp_path / "tasks" / "fake.yaml"
    file.write_text(file.read_text().replace('"{{prompt}}"', '"{{prompt}} now"'))
    lm = FakeLM()
    run(load(), lm, cache_requests=True)
    assert lm.prompts[0].endswith("now")


def test_a_changed_chat_template_never_meets_cached_prompts(
    load: Loader, requests_cache: Path
) -> None:
    class Other(FakeLM):
        def apply_chat_template(self, history: list[dict[str, str]], **_: Any) -> str:
            return "NEW user\n" + history[-1]["content"]

    run(load(), cache_requests=True, apply_chat_template=True)
    lm = Other()
    run(load(), lm, cache_requests=True, apply_chat_template=True)
    assert lm.prompts[0].startswith("NEW")


FOREIGN = {"pretrained": "/no/such/model", "seed": 7, "dtype": "float32", "batch_size": 4}
# A task of each family, and where its generation stops.
FAMILIES: dict[str, list[str]] = {
    "mdqa_pos_synth_10": ["\n"],
    "mdqa_pos_10": ["\n"],
    "kv_simple_template": [],
    "kv_multi_subkey_plain": [],
    "kv_uuid_synth_75": [],
}


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    if request.param == "mdqa_pos_10":
        request.getfixturevalue("shared_data")
    return str(request.param)


def asked(names: list[str], name: str, **metadata: Any) -> FakeLM:
    """Load ``names`` together and ask the first prompts of one of them."""
    path = str(task_configs())
    manager = TaskManager(include_path=path, include_defaults=False, metadata=metadata)
    loaded = manager.load(names)
    loaded["tasks"] = {name: loaded["tasks"][name]}
    lm = FakeLM()
    evaluate(lm, loaded, bootstrap_iters=0, limit=3)
    return lm


def test_documents_depend_on_nothing_but_their_own_metadata(family: str) -> None:
    random.seed(1)
    alone = asked([family], family)
    random.seed(2)
    others = [name for name in ("kv_simple_plain", "mdqa_pos_synth_5docs_01") if name != family]
    together = asked([*others, family], family, **FOREIGN)
    assert len(alone.prompts) == 3
    assert together.prompts == alone.prompts


def test_generation_stops_where_the_task_says_and_nowhere_else(family: str) -> None:
    """The harness stops at a blank line where a task states nothing."""
    for settings in asked([family], family).settings:
        assert settings["until"] == FAMILIES[family]
        assert settings["do_sample"] is False


def test_chats_that_a_service_renders_are_cached_as_well(
    load: Loader, requests_cache: Path
) -> None:
    task = load()["tasks"]["fake"]
    rendered = partial(TemplateAPI.apply_chat_template, SimpleNamespace(tokenizer_backend=None))
    task.build_all_requests(
        cache_requests=True, apply_chat_template=True, chat_template=rendered, tokenizer_name="t"
    )
    assert all(isinstance(request.args[0], JsonChatStr) for request in task.instances)
