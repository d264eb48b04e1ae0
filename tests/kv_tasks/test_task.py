"""Prompts that the harness would cut are refused, or left out and counted."""

from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from kv_tasks.errors import ModelError, PromptTooLongError, UsageError
from kv_tasks.tokens import count_tokens, load_tokenizer

from .fake_task import (
    FakeLM,
    Loader,
    Unasked,
    ids,
    metrics,
    run,
)


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
    # Under --predict_only, where the harness would average the counts of what it does not score.
    loaded = load(**model, too_long="skip")
    for task in loaded["tasks"].values():
        task.override_metric("bypass")
    assert "skipped" not in metrics(run(loaded))


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


def test_a_completion_servers_model_name_is_its_tokenizer(load: Loader, tiny_folder: Path) -> None:
    server = {"model": str(tiny_folder), "base_url": "http://localhost:8000/v1/completions"}
    with pytest.raises(PromptTooLongError, match="the model has 2047"):
        run(load(**server, sizes=[3, 2500]), Unasked())


def test_the_first_token_that_the_model_adds_is_measured(load: Loader, tmp_path: Path) -> None:
    """hf and vllm add it where no chat template did."""
    words = Tokenizer(models.WordLevel({"<s>": 0, "<unk>": 1}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<s>").save_pretrained(tmp_path / "t")
    model: dict[str, Any] = {"tokenizer": str(tmp_path / "t"), "sizes": [3, 40]}
    with pytest.raises(PromptTooLongError, match="needs 52 tokens"):
        run(load(**model, max_length=51), Unasked())
    assert ids(run(load(**model, max_length=52))) == [0, 1]
    # And where one did, if the chat begins without it.
    lm = FakeLM()
    samples = run(load(**model), lm, apply_chat_template=True)["samples"]["fake"]
    counted = count_tokens(load_tokenizer(model["tokenizer"]), lm.prompts)
    assert lm.prompts[0].startswith("<|im_start|>")
    assert [sample["doc"]["length"] for sample in samples] == [count + 1 for count in counted]


def read(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().err.split())


def test_prompts_that_nobody_can_measure_are_said_to_be_unmeasured(
    load: Loader, tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(load())
    assert "task fake: a prompt that is too long may be cut unseen: the tok" in read(capsys)
    run(load(tokenizer=str(tiny_folder)))
    assert "task fake: a prompt that is too long may be cut unseen: the model is not" in read(
        capsys
    )
    told = {"model": "m", "tokenizer": str(tiny_folder), "base_url": "http://host/v1/completions"}
    run(load(**told, tokenized_requests="False"))
    assert "unseen" not in read(capsys)


def test_documents_left_out_on_several_ranks_are_counted_once_each(
    load: Loader, tiny_folder: Path, lengths: list[int]
) -> None:
    model = {"tokenizer": str(tiny_folder), "max_length": lengths[1] + 9, "too_long": "skip"}
    counted = []
    for rank in range(2):
        task = load(**model)["tasks"]["fake"]
        task.build_all_requests(rank=rank, world_size=2)
        docs = [doc for _, doc in task.doc_iterator(rank=rank, world_size=2)]
        counted += [task.process_results(doc, doc["answers"])["skipped"] for doc in docs]
    assert task.aggregation()["skipped"](counted) == 2


def test_a_process_in_which_nothing_fits_says_so(load: Loader, tiny_folder: Path) -> None:
    model = {"tokenizer": str(tiny_folder), "max_length": 12, "too_long": "skip"}
    with pytest.raises(PromptTooLongError, match="none fits, of those that this process has"):
        run(load(**model), Unasked())


def test_skipped_documents_are_not_among_the_effective_ones(
    load: Loader, tiny_folder: Path, lengths: list[int]
) -> None:
    model = {"tokenizer": str(tiny_folder), "max_length": lengths[1] + 9, "too_long": "skip"}
    assert run(load(**model))["n-samples"]["fake"]["effective"] == 4
