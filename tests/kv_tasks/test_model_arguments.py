"""What a task learns of the model from the arguments that the harness merges into metadata."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from lm_eval.models.utils import resolve_max_length
from transformers import AutoConfig, PretrainedConfig

from kv_tasks.errors import UsageError
from kv_tasks.model_arguments import ModelArguments
from kv_tasks.tokens import load_tokenizer

SERVER = "http://localhost:8000/v1"


def of(**metadata: Any) -> ModelArguments:
    return ModelArguments.of(metadata)


def model(folder: Path, **config: Any) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


def test_nothing_is_known_of_a_model_that_nobody_described() -> None:
    known = of(version=1.0, samples=5)
    assert (known.tokenizer, known.named, known.limit) == (None, False, None)
    assert known.too_long == "error"


def test_a_named_tokenizer_goes_before_the_models_own() -> None:
    assert (of(pretrained="a/b").tokenizer, of(pretrained="a/b").named) == ("a/b", False)
    both = of(pretrained="a/b", tokenizer="c/d")
    assert (both.tokenizer, both.named) == ("c/d", True)


def test_a_model_object_is_no_name() -> None:
    """The harness takes a loaded model as ``pretrained`` too."""
    assert of(pretrained=PretrainedConfig()).tokenizer is None


@pytest.mark.parametrize("name", ["max_length", "max_model_len"])
@pytest.mark.parametrize("value", [8192, "8192"])
def test_a_stated_limit_is_that_of_prompt_and_answer(name: str, value: Any) -> None:
    known = of(pretrained="/no/such/model", **{name: value})
    assert (known.limit, known.raised_by) == (8192, name)


def test_an_argument_left_empty_states_no_limit() -> None:
    assert of(max_length=None).limit is None


def test_plain_completions_are_cut_at_2047_tokens_unless_told_otherwise() -> None:
    assert of(base_url=f"{SERVER}/completions").limit == 2047
    assert of(base_url=f"{SERVER}/completions").raised_by == "max_length"
    # The harness takes one token off.
    assert of(base_url=f"{SERVER}/completions", max_length=8192).limit == 8191


def test_chat_completions_are_not_cut_by_the_harness() -> None:
    assert of(base_url=f"{SERVER}/chat/completions").limit is None


@pytest.mark.parametrize("model_type", ["llama", "gpt2", "gpt_neox", "mistral", "qwen2"])
def test_a_folders_configuration_gives_the_limit(model_type: str, tmp_path: Path) -> None:
    field = "n_positions" if model_type == "gpt2" else "max_position_embeddings"
    folder = model(tmp_path / model_type, model_type=model_type, **{field: 777})
    assert (of(pretrained=folder).limit, of(pretrained=folder).raised_by) == (777, "max_length")
    assert of(pretrained=folder, max_length=500).limit == 500


def test_a_composite_models_text_part_gives_the_limit(tmp_path: Path) -> None:
    text = {"model_type": "gemma3_text", "max_position_embeddings": 555}
    folder = model(tmp_path / "composite", model_type="gemma3", text_config=text)
    assert of(pretrained=folder).limit == 555


def test_a_completions_server_may_be_told_its_model_as_pretrained() -> None:
    url = "http://localhost:8000/v1/completions"
    assert of(base_url=url, pretrained="ORG/M").tokenizer == "ORG/M"
    assert of(base_url=url, model="ORG/A", pretrained="ORG/B").tokenizer == "ORG/A"


def test_packed_weights_that_cannot_be_read_have_no_known_limit(tmp_path: Path) -> None:
    folder = model(tmp_path / "packed", model_type="llama", max_position_embeddings=777)
    assert of(pretrained=folder, gguf_file="model.gguf").limit is None


@pytest.mark.parametrize("content", [None, "{", '{"model_type": "no-such-architecture"}'])
def test_a_model_without_a_readable_configuration_has_no_known_limit(
    content: str | None, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    assert of(pretrained=str(tmp_path)).limit is None


def test_the_demo_models_limit_is_its_own(demo_model: Path) -> None:
    assert of(pretrained=str(demo_model)).limit == 8192


@pytest.mark.parametrize("value", ["error", "skip"])
def test_what_to_do_with_a_long_prompt_is_one_of_two(value: str) -> None:
    assert of(too_long=value).too_long == value


@pytest.mark.parametrize("value", ["Skip", "cut", "", None, True])
def test_anything_else_is_refused_and_named(value: Any) -> None:
    with pytest.raises(UsageError, match="metadata too_long: .*; choose error or skip") as caught:
        of(too_long=value)
    assert repr(value) in str(caught.value)


def test_an_address_that_is_empty_or_ends_with_a_slash_is_understood() -> None:
    assert of(base_url=None, pretrained="/no/such").limit is None
    assert of(base_url=f"{SERVER}/chat/completions/").limit is None


def test_no_length_is_the_models(tmp_path: Path) -> None:
    folder = model(tmp_path / "m", model_type="llama", max_position_embeddings=512)
    assert of(pretrained=folder, max_model_len=None).limit == 512


@pytest.mark.parametrize("given", ["auto", -1, "-1", 0.5])
def test_a_length_that_is_none_is_refused_since_the_harness_would_count_with_it(given: Any) -> None:
    """vLLM fits its context to the memory for -1; the harness cuts each prompt's beginning."""
    with pytest.raises(UsageError, match=f"max_model_len: '{given}' is no number of tokens"):
        of(pretrained="m", max_model_len=given)


def test_sglang_s_name_for_the_context_counts(tmp_path: Path) -> None:
    folder = model(tmp_path / "m", model_type="llama", max_position_embeddings=512)
    assert of(pretrained=folder, context_length=256).limit == 256


def test_a_chat_address_with_a_query_is_one() -> None:
    assert of(base_url=f"{SERVER}/chat/completions?api-version=1", tokenizer="a").limit is None


def test_a_model_with_code_of_its_own_has_its_limit_where_the_user_lets_it_run(
    tmp_path: Path, tiny_folder: Path
) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "own")
    (folder / "own_config.py").write_text(
        "from transformers import PretrainedConfig\n"
        "class Own(PretrainedConfig):\n"
        "    model_type = 'its-own'\n"
    )
    config = {"auto_map": {"AutoConfig": "own_config.Own"}, "max_position_embeddings": 321}
    (folder / "config.json").write_text(json.dumps({"model_type": "its-own", **config}))
    trusted = of(pretrained=str(folder), trust_remote_code=True)
    assert (trusted.limit, trusted.trust_remote_code) == (321, True)
    assert trusted.loading == {"revision": None, "trust_remote_code": True}
    assert of(pretrained=str(folder), trust_remote_code="True").limit == 321


def test_the_models_revision_is_no_other_tokenizers() -> None:
    own = of(pretrained="a/b", revision="v2", max_length=9)
    other = of(pretrained="a/b", revision="v2", tokenizer="c/d", max_length=9)
    assert (own.tokenizer, own.loading["revision"]) == ("a/b", "v2")
    assert (other.tokenizer, other.loading["revision"]) == ("c/d", None)


@pytest.mark.parametrize("setting", ["tokenized_requests", "tokenizer_backend"])
def test_a_server_that_gets_texts_is_not_cut(setting: str) -> None:
    assert of(base_url=f"{SERVER}/completions", model="m", **{setting: None}).limit is None


def test_a_configuration_without_a_length_means_the_tokenizers_or_2048(
    tmp_path: Path, tiny_folder: Path
) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "m")
    (folder / "config.json").write_text('{"model_type": "mamba"}')
    harness = resolve_max_length(AutoConfig.from_pretrained(folder), load_tokenizer(str(folder)))
    assert of(pretrained=str(folder)).limit == harness == 2048


def test_a_tokenizer_object_is_no_name(tiny_tokenizer: Any) -> None:
    assert of(tokenizer=tiny_tokenizer, pretrained=object()).tokenizer is None
