"""Published files are found, checked, or missed with a message that names the ways out."""

import gzip
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from kv_tasks import corpora, datafiles, flenqa, kv_uuid
from kv_tasks.datafiles import (
    FLENQA,
    NQ_OPEN_ORACLE,
    NQ_OPEN_RETRIEVED,
    PUBLISHED,
    UUID_RECORDS,
    published,
    read_jsonl_gz,
)
from kv_tasks.errors import DataError
from kv_tasks.files import sha256_file


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.delenv("KV_TASKS_DATA", raising=False)
    monkeypatch.setenv("KV_TASKS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def publish_at(monkeypatch: pytest.MonkeyPatch, url: str, **changes: str) -> None:
    source = replace(PUBLISHED[NQ_OPEN_ORACLE], url=url, **changes)
    monkeypatch.setitem(datafiles.PUBLISHED, NQ_OPEN_ORACLE, source)


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def test_the_users_folder_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / NQ_OPEN_ORACLE).parent.mkdir()
    (tmp_path / NQ_OPEN_ORACLE).write_bytes(b"")
    monkeypatch.setenv("KV_TASKS_DATA", str(tmp_path))
    assert published(NQ_OPEN_ORACLE) == tmp_path / NQ_OPEN_ORACLE


def test_a_users_folder_without_the_file_is_named_and_not_bypassed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: Path
) -> None:
    monkeypatch.setenv("KV_TASKS_DATA", str(tmp_path))
    with pytest.raises(DataError) as caught:
        published(NQ_OPEN_ORACLE)
    assert str(tmp_path) in str(caught.value)
    assert NQ_OPEN_ORACLE in str(caught.value)


def test_without_a_network_the_error_names_both_ways_out(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    publish_at(monkeypatch, f"http://127.0.0.1:{closed_port()}/nq-open-oracle.jsonl.gz")
    with pytest.raises(DataError) as caught:
        published(NQ_OPEN_ORACLE)
    message = str(caught.value)
    assert "KV_TASKS_DATA" in message
    assert "mdqa_pos_synth" in message
    assert "\n" not in message
    assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_a_download_lands_in_the_cache_and_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, cache: Path, tmp_path: Path
) -> None:
    origin = tmp_path / "origin"
    origin.write_bytes(b"published")
    publish_at(monkeypatch, origin.as_uri(), sha256=sha256_file(origin))
    assert published(NQ_OPEN_ORACLE).read_bytes() == b"published"
    origin.unlink()
    assert published(NQ_OPEN_ORACLE) == cache / NQ_OPEN_ORACLE


def test_a_download_of_other_bytes_is_refused_and_not_kept(
    monkeypatch: pytest.MonkeyPatch, cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "origin").write_bytes(b"a login page")
    publish_at(monkeypatch, (tmp_path / "origin").as_uri())
    with pytest.raises(DataError, match=PUBLISHED[NQ_OPEN_ORACLE].sha256):
        published(NQ_OPEN_ORACLE)
    assert not (cache / NQ_OPEN_ORACLE).exists()


class Truncating(BaseHTTPRequestHandler):
    """Promises 2,000 bytes and breaks off after 9."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2000")
        self.end_headers()
        self.wfile.write(b"published")

    def log_message(self, *_: object) -> None:
        pass


def test_a_download_that_breaks_off_is_refused_and_not_kept(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    with HTTPServer(("127.0.0.1", 0), Truncating) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        # A file whose checksum is not known.
        source = replace(PUBLISHED[FLENQA], url=f"http://127.0.0.1:{server.server_port}/x.zip")
        monkeypatch.setitem(datafiles.PUBLISHED, FLENQA, source)
        with pytest.raises(DataError, match="it ended after 9 of 2000 bytes.*flenqa_synth"):
            published(FLENQA)
    assert [path for path in cache.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("name", "read"),
    [
        (NQ_OPEN_RETRIEVED, corpora.retrieved.__wrapped__),
        (UUID_RECORDS.format(keys=140), lambda: kv_uuid.load(keys=140)),
        (FLENQA, lambda: flenqa.load(ctx_size=250)),
    ],
)
@pytest.mark.parametrize("content", [b"damaged", gzip.compress(b"[]\n")], ids=["torn", "other"])
def test_a_damaged_file_of_the_cache_is_to_be_deleted(
    cache: Path, name: str, read: Callable[[], object], content: bytes
) -> None:
    (cache / name).parent.mkdir(parents=True)
    (cache / name).write_bytes(content)
    with pytest.raises(DataError, match=f"delete {re.escape(str(cache / name))} and run again"):
        read()


def test_a_damaged_file_of_the_users_folder_is_to_be_fetched_again(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl.gz").write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"; fetch rows\.jsonl\.gz again"):
        read_jsonl_gz(tmp_path / "rows.jsonl.gz")


def test_the_checksum_is_that_of_the_published_file(shared_data: Path) -> None:
    assert sha256_file(published(NQ_OPEN_ORACLE)) == PUBLISHED[NQ_OPEN_ORACLE].sha256


def test_rows_are_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress('{"a": 1}\n{"a": "ö\u2028"}\n'.encode()))
    assert read_jsonl_gz(path) == [{"a": 1}, {"a": "ö\u2028"}]


@pytest.mark.parametrize("line", [b'{"a": ', b"[1]", b"null", b'{"a": "\xff"}'])
def test_a_line_that_is_no_object_is_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n' + line + b"\n"))
    with pytest.raises(DataError, match=r"rows\.jsonl\.gz, line 2"):
        read_jsonl_gz(path)


@pytest.mark.parametrize("damage", ["truncated", "plain text", "flipped"])
def test_a_damaged_gzip_file_is_named_and_never_read_in_part(tmp_path: Path, damage: str) -> None:
    whole = gzip.compress(b'{"a": 1}\n' * 2000)
    flipped = whole[:20] + bytes([whole[20] ^ 0xFF]) + whole[21:]
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(
        {"truncated": whole[:-12], "plain text": b'{"a": 1}\n', "flipped": flipped}[damage]
    )
    with pytest.raises(DataError, match=r"rows\.jsonl\.gz: truncated or damaged"):
        read_jsonl_gz(path)
