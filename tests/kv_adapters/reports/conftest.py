"""Runs of every family the report knows."""

from collections.abc import Callable
from pathlib import Path

import pytest

from .model_runs import MODELS, Model, write_model


@pytest.fixture(scope="module")
def write_models(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[Path]]:
    """Return a function that writes runs of every family, one a model."""

    def write(*models: Model, count: int = 20) -> list[Path]:
        folder = tmp_path_factory.mktemp("runs")
        return [write_model(folder, model, count) for model in models or MODELS]

    return write
