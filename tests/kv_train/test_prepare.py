"""Rows that the model cannot hold are refused, and no others."""

from dataclasses import replace

import pytest
from transformers import LlamaConfig

from kv_tasks.errors import DataError, ModelError
from kv_train.architecture import architecture, meta_model
from kv_train.prepare import _check_tokens
from kv_train.recipe import Recipe
from kv_train.tokens import Row

RECIPE = Recipe(name="r", model="m")
TINY = LlamaConfig(vocab_size=8, hidden_size=8, num_attention_heads=2, num_hidden_layers=1)
SHAPES = replace(architecture(meta_model(TINY)), limit=8)


def row(length: int, token: int = 1) -> Row:
    return Row((token,) * length, ((length - 1, length),), "c", "row")


def test_a_row_may_be_as_long_as_the_models_context() -> None:
    _check_tokens(RECIPE, [row(8)], SHAPES)
    with pytest.raises(DataError, match="row: 9 tokens, more than the 8 of m"):
        _check_tokens(RECIPE, [row(9)], SHAPES)


def test_a_row_may_have_the_models_last_token_and_none_behind_it() -> None:
    _check_tokens(RECIPE, [row(8, token=7)], SHAPES)
    with pytest.raises(ModelError, match="m: row: its tokenizer writes token 8, .* has 8 embed"):
        _check_tokens(RECIPE, [row(8, token=8)], SHAPES)
