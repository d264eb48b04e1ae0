"""Documents that were built before are read again, unless their file is not whole."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kv_tasks.cache import cached_rows
from kv_tasks.windows import Window


@pytest.fixture
def built(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("KV_TASKS_CACHE", str(tmp_path))
    times: list[int] = []

    def build() -> Iterator[dict[str, Any]]:
        times.append(1)
        yield from ({"number": number, "text": "é"} for number in range(3))

    def read() -> tuple[list[int], int]:
        rows = cached_rows({"a": 1}, Window(100, str(tiny_folder), 10), build)
        return rows["number"][:], len(times)

    return read


def test_a_second_reading_builds_nothing(built: Any) -> None:
    assert built() == built() == ([0, 1, 2], 1)


@pytest.mark.parametrize("kept", [0, 1, 2, 3])
@pytest.mark.parametrize("torn", [b"", b'{"number": 9, "te', b"\xc3"])
def test_a_file_that_lost_its_end_is_built_again(
    kept: int, torn: bytes, built: Any, tmp_path: Path
) -> None:
    built()
    (file,) = tmp_path.rglob("*.jsonl")
    whole = file.read_bytes()
    file.write_bytes(b"".join(whole.splitlines(keepends=True)[:kept]) + torn)
    assert built() == ([0, 1, 2], 2)
    assert file.read_bytes() == whole


def test_another_room_for_the_answer_is_built_anew(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KV_TASKS_CACHE", str(tmp_path))

    def built_for(room: int) -> int:
        window = Window(100, str(tiny_folder), room)
        return int(cached_rows({"a": 1}, window, lambda: [{"room": room}])["room"][0])

    assert [built_for(10), built_for(20)] == [10, 20]
