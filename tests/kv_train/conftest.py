"""What the tests of ``kv-train openai`` share: a stand-in for the service, and a recipe for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kv_train.recipe import Recipe
from kv_train.recipe_files import load_recipe

from .openai_server import KEY, RECIPE, Service


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Service]:
    """A running stand-in that the client finds; encodings cannot be downloaded meanwhile."""
    service = Service()
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", service.url)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "no-encodings"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield service
    service.close()


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    file = tmp_path / "paper.yaml"
    file.write_text(RECIPE)
    return file


@pytest.fixture
def recipe(recipe_file: Path) -> Recipe:
    return load_recipe(str(recipe_file))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"
