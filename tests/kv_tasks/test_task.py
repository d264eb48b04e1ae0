"""The harness's silent failures, each met by a task of this project and refused or mended."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from lm_eval.api.model import LM
from lm_eval.evaluator import evaluate
from lm_eval.tasks import TaskManager

from kv_tasks.errors import ModelError, PromptTooLongError, UsageError
from kv_tasks.paths import task_configs
from kv_tasks.tokens import count_tokens, load_tokenizer

# Documents of very different lengths; the answer is the prompt's first word.
SIZES = (3, 400, 5, 600, 7, 40)
MODULE = """
import datasets
from kv_tasks.documents import document

def load(*, sizes, tag="a", **_):
    docs = []
    for number, size in enumerate(sizes):
        answer = f"{tag}{number}"
        prompt = answer + " dictionary" * size
        docs.append(document(
            question_id=f"q{number}", answers=[answer], gold_position=None, prompt=prompt))
    return {"test": datasets.Dataset.from_list(docs)}

def process_results(doc, results):
    return {"acc": float(results[0] == doc["answers"][0])}
"""
YAML = f"""
class: !function kv_tasks.task.Task
task: fake
output_type: generate_until
custom_dataset: !function fake.load
process_results: !function fake.process_results
test_split: test
doc_to_text: "{{{{prompt}}}}"
doc_to_target: "{{{{answers[0]}}}}"
num_fewshot: 0
generation_kwargs: {{until: [], max_gen_toks: 10, do_sample: false, temperature: 0.0}}
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
  - {{metric: skipped, aggregation: mean, higher_is_better: false}}
metadata: {{version: 1.0, sizes: {list(SIZES)}}}
"""
Loader = Callable[..., Any]


class FakeLM(LM):  # type: ignore[misc]
    """Answers with the prompt's first word, and remembers the prompts."""

    tokenizer_name = "fake"

    def __init__(self) -> None:
        super().__init__()
        self.prompts: list[str] = []
        self.settings: list[dict[str, Any]] = []

    def generate_until(self, requests: Sequence[Any], **_: Any) -> list[str]:
        self.prompts += [request.args[0] for request in requests]
        self.settings += [request.args[1] for request in requests]
        return [request.args[0].split("user\n")[-1].split()[0] for request in requests]

    def loglikelihood(self, requests: Any) -> Any:
        raise NotImplementedError

    loglikelihood_rolling = loglikelihood

    def apply_chat_template(self, history: list[dict[str, str]], **_: Any) -> str:
        said = "".join(f"<|im_start|>{turn['role']}\n{turn['content']}" for turn in history)
        return f"{said}<|im_end|>\n<|im_start|>assistant\n"


class Unasked(FakeLM):
    """A model that must not be asked anything."""

    def generate_until(self, requests: Sequence[Any], **_: Any) -> list[str]:
        pytest.fail(f"asked {len(requests)} prompts")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture
def load(tmp_path: Path) -> Loader:
    """Return a function that loads the fake task as the command line does."""
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "fake.py").write_text(MODULE)
    (folder / "fake.yaml").write_text(YAML)

    def loaded(**metadata: Any) -> Any:
        manager = TaskManager(include_path=str(folder), include_defaults=False, metadata=metadata)
        return manager.load(["fake"])

    return loaded


@pytest.fixture
def requests_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # The harness reads LM_HARNESS_CACHE_PATH once, when it is imported.
    monkeypatch.setattr("lm_eval.caching.cache.PATH", str(tmp_path / "requests"))
    return tmp_path / "requests"


@pytest.fixture
def lengths(tiny_folder: Path) -> list[int]:
    prompts = [f"a{number}" + " dictionary" * size for number, size in enumerate(SIZES)]
    return count_tokens(load_tokenizer(str(tiny_folder)), prompts)


def run(loaded: Any, lm: LM | None = None, **settings: Any) -> Any:
    return evaluate(lm or FakeLM(), loaded, bootstrap_iters=0, **settings)


def metrics(results: Any) -> dict[str, Any]:
    return {name.removesuffix(",none"): v for name, v in results["results"]["fake"].items()}


def ids(results: Any) -> list[int]:
    """Return the documents' numbers, once each was joined to its own prompt and answer."""
    for sample in results["samples"]["fake"]:
        answer = sample["doc"]["answers"][0]
        assert sample["doc"]["question_id"] == f"q{sample['doc_id']}"
        assert sample["resps"] == [[answer]]
        assert sample["arguments"][0][0] == sample["doc"]["prompt"]
    return [sample["doc_id"] for sample in results["samples"]["fake"]]


def test_a_prompt_that_would_be_cut_is_refused_before_anything_is_generated(
    load: Loader, tiny_folder: Path, lengths: list[int]
) -> None:
    limit = lengths[1] + 9
    loaded = load(tokenizer=str(tiny_folder), max_model_len=limit)
    with pytest.raises(PromptTooLongError) as caught:
        run(loaded, Unasked())
    message = str(caught.value)
    assert message.startswith("task fake: 2 of 6 prompts do not fit")
    assert f"document 3, needs {lengths[3] + 10} tokens with its answer" in message
    assert f"the model has {limit};" in message
    assert "model argument max_model_len" in message
    assert "\n" not in message


def test_a_prompt_that_fits_to_the_token_is_not_refused(
    load: Loader, tiny_folder: Path, lengths: list[int]
) -> None:
    model = {"tokenizer": str(tiny_folder), "max_length": max(lengths) + 10}
    assert ids(run(load(**model))) == list(range(6))
    with pytest.raises(PromptTooLongError, match="1 of 6 prompts .* document 3"):
        run(load(**{**model, "max_length": max(lengths) + 9}), Unasked())


def test_the_answer_asked_for_on_the_command_line_needs_its_room(
    load: Loader, tiny_folder: Path, lengths: list[int]
) -> None:
    loaded = load(tokenizer=str(tiny_folder), max_length=max(lengths) + 10)
    loaded["tasks"]["fake"].set_config("generation_kwargs", {"max_gen_toks": 11}, update=True)
    with pytest.raises(PromptTooLongError, match="1 of 6"):
        run(loaded, Unasked())


def test_the_chat_template_is_measured_too(load: Loader, tiny_folder: Path) -> None:
    loaded = load(tokenizer=str(tiny_folder), max_length=10_000)
    lm = FakeLM()
    samples = run(loaded, lm, apply_chat_template=True)["samples"]["fake"]
    expected = count_tokens(load_tokenizer(str(tiny_folder)), lm.prompts)
    assert lm.prompts[0].startswith("<|im_start|>user\na0 dictionary")
    assert [sample["doc"]["length"] for sample in samples] == expected
    limit = max(expected) + 9
    with pytest.raises(PromptTooLongError, match="1 of 6"):
        run(load(tokenizer=str(tiny_folder), max_length=limit), apply_chat_template=True)
    assert run(load(tokenizer=str(tiny_folder), max_length=limit))


def test_long_prompts_are_left_out_when_asked_and_the_results_say_how_many(
    load: Loader, tiny_folder: Path, lengths: list[int]
) -> None:
    model = {"tokenizer": str(tiny_folder), "max_length": lengths[1] + 9, "too_long": "skip"}
    lm = FakeLM()
    results = run(load(**model), lm)
    assert ids(results) == [0, 2, 4, 5]
    assert [prompt.split()[0] for prompt in lm.prompts] == ["a0", "a2", "a4", "a5"]
    assert metrics(results)["skipped"] == 2
    assert metrics(results)["acc"] == 1.0
    assert metrics(results)["sample_len"] == 4


def test_a_task_that_is_run_again_measures_again(
    load: Loader, tiny_folder: Path, lengths: list[int]
) -> None:
    model = {"tokenizer": str(tiny_folder), "max_length": lengths[1] + 9, "too_long": "skip"}
    loaded = load(**model)
    assert ids(run(loaded)) == ids(run(loaded)) == [0, 2, 4, 5]
    assert ids(run(loaded, samples={"fake": [2, 4]})) == [2, 4]
    assert ids(run(loaded, limit=1)) == [0]


def test_nothing_is_skipped_where_all_fits_and_no_count_appears_unasked(
    load: Loader, tiny_folder: Path
) -> None:
    model = {"tokenizer": str(tiny_folder), "max_length": 10_000}
    assert metrics(run(load(**model, too_long="skip")))["skipped"] == 0
    assert "skipped" not in metrics(run(load(**model)))


def test_a_task_is_not_skipped_as_a_whole(load: Loader, tiny_folder: Path) -> None:
    loaded = load(tokenizer=str(tiny_folder), max_length=11, too_long="skip")
    with pytest.raises(PromptTooLongError, match="6 of 6"):
        run(loaded, Unasked())


def test_any_other_wish_for_long_prompts_is_refused(load: Loader) -> None:
    with pytest.raises(UsageError, match="too_long: 'cut'"):
        load(too_long="cut")


@pytest.mark.parametrize(("limit", "expected"), [(1, [0]), (4, [0, 2]), (None, [0, 2, 4, 5])])
def test_a_limit_counts_documents_before_any_is_skipped(
    limit: int | None, expected: list[int], load: Loader, tiny_folder: Path, lengths: list[int]
) -> None:
    model = {"tokenizer": str(tiny_folder), "max_length": lengths[1] + 9, "too_long": "skip"}
    results = run(load(**model), limit=limit)
    assert ids(results) == expected
    assert metrics(results)["skipped"] == (limit or 6) - len(expected)


def test_a_long_prompt_outside_the_limit_is_no_reason_to_refuse(
    load: Loader, tiny_folder: Path, lengths: list[int]
) -> None:
    model = {"tokenizer": str(tiny_folder), "max_length": lengths[1] + 10}
    assert ids(run(load(**model), limit=3)) == [0, 1, 2]


@pytest.mark.parametrize(("wanted", "kept"), [([2, 4], [2, 4]), ([1, 2, 3, 5], [2, 5])])
def test_chosen_samples_keep_their_numbers_when_others_are_skipped(
    wanted: list[int], kept: list[int], load: Loader, tiny_folder: Path, lengths: list[int]
) -> None:
    model = {"tokenizer": str(tiny_folder), "max_length": lengths[1] + 9, "too_long": "skip"}
    results = run(load(**model), samples={"fake": wanted})
    assert ids(results) == kept
    assert metrics(results)["skipped"] == len(wanted) - len(kept)


def test_every_document_is_on_one_rank_and_skipped_there(
    load: Loader, tiny_folder: Path, lengths: list[int]
) -> None:
    model = {"tokenizer": str(tiny_folder), "max_length": lengths[3] + 9, "too_long": "skip"}
    asked, evaluated = [], []
    for rank in range(2):
        task = load(**model)["tasks"]["fake"]
        task.build_all_requests(rank=rank, world_size=2)
        asked += [(rank, request.doc_id) for request in task.instances]
        for number, doc in task.doc_iterator(rank=rank, world_size=2):
            assert doc["question_id"] == f"q{number}"
            assert doc["length"] == lengths[number]
            evaluated.append((rank, number))
    assert asked == evaluated == [(0, 0), (0, 2), (0, 4), (1, 1), (1, 5)]


def test_documents_say_how_long_their_prompts_are(
    load: Loader, tiny_folder: Path, lengths: list[int]
) -> None:
    samples = run(load(tokenizer=str(tiny_folder)))["samples"]["fake"]
    assert [sample["doc"]["length"] for sample in samples] == lengths
    samples = run(load())["samples"]["fake"]
    assert [sample["doc"]["length"] for sample in samples] == [None] * 6


def test_a_named_tokenizer_must_load_and_the_models_own_need_not(
    load: Loader, tmp_path: Path
) -> None:
    nowhere = str(tmp_path / "nowhere")
    assert ids(run(load(pretrained=nowhere, max_length=20))) == list(range(6))
    with pytest.raises(ModelError, match=nowhere):
        run(load(tokenizer=nowhere, max_length=20), Unasked())


def test_a_models_own_folder_gives_tokenizer_and_limit(load: Loader, tiny_base: Path) -> None:
    samples = run(load(pretrained=str(tiny_base)))["samples"]["fake"]
    assert None not in [sample["doc"]["length"] for sample in samples]
    with pytest.raises(PromptTooLongError, match="the model has 2048;"):
        run(load(pretrained=str(tiny_base), sizes=[3, 3000]), Unasked())


def test_plain_completions_hold_2047_tokens_and_chat_completions_what_the_server_holds(
    load: Loader, tiny_folder: Path
) -> None:
    model = {"tokenizer": str(tiny_folder), "sizes": [3, 2500]}
    server = "http://localhost:8000/v1"
    with pytest.raises(PromptTooLongError, match="the model has 2047; .* argument max_length"):
        run(load(**model, base_url=f"{server}/completions"), Unasked())
    assert ids(run(load(**model, base_url=f"{server}/completions", max_length=99_999))) == [0, 1]
    assert ids(run(load(**model, base_url=f"{server}/chat/completions"))) == [0, 1]


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
