"""Fixtures of the tests of tasks in the harness."""

from pathlib import Path
from typing import Any

import pytest
from lm_eval.tasks import TaskManager

from kv_tasks.tokens import count_tokens, load_tokenizer

from .fake_task import MODULE, SIZES, YAML, Loader


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
