"""Rows that the model cannot hold are refused, and no others."""

import pytest

from kv_tasks.errors import DataError
from kv_train.prepare import _check_length
from kv_train.recipe import Recipe
from kv_train.tokens import Row


def test_a_row_may_be_as_long_as_the_models_context() -> None:
    def row(length: int) -> Row:
        return Row((1,) * length, ((length - 1, length),), "c", "row")

    recipe = Recipe(name="r", model="m")
    _check_length(recipe, [row(8)], limit=8)
    with pytest.raises(DataError, match="row: 9 tokens, more than the 8 of m"):
        _check_length(recipe, [row(9)], limit=8)
