"""Published data files: found in the user's folder or the cache, otherwise downloaded once.

Set ``KV_TASKS_DATA`` to a folder that holds the files under the names of :data:`PUBLISHED` to
run without a network. A further data set is one more entry in that table.
"""

import gzip
import http.client
import io
import os
import shutil
import urllib.request
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonlines

from kv_tasks.errors import DataError, reason_of
from kv_tasks.files import atomic_path, sha256_file
from kv_tasks.paths import cache_folder

TIMEOUT_SECONDS = 20.0


@dataclass(frozen=True)
class Published:
    """Where a file is published, and what to run where it cannot be had.

    ``sha256`` is of the bytes; None where this project never saw the file.
    """

    url: str
    instead: str
    sha256: str | None = None


NQ_OPEN_ORACLE = "lost-in-the-middle/nq-open-oracle.jsonl.gz"
NQ_OPEN_RETRIEVED = "lost-in-the-middle/nq-open-20_total_documents_gold_at_0.jsonl.gz"
UUID_RECORDS = "lost-in-the-middle/kv-retrieval-{keys}_keys.jsonl.gz"
PUBLISHED_KEYS = (75, 140, 300)
FLENQA = "flenqa/FLenQA.zip"
_SHA256_75 = "eb6d61fc3473349f2b86df76757c6ab659cc929d907d24caf1c69928e03f6203"
_LIU = "https://github.com/nelson-liu/lost-in-the-middle/raw/main"

PUBLISHED: dict[str, Published] = {
    NQ_OPEN_ORACLE: Published(
        url=f"{_LIU}/qa_data/nq-open-oracle.jsonl.gz",
        instead="mdqa_pos_synth",
        sha256="6a7f72b846f663a133ef952244e5a4e43f06bcf190afe34e8fbe687ce0d1653e",
    ),
    NQ_OPEN_RETRIEVED: Published(
        url=f"{_LIU}/qa_data/20_total_documents/nq-open-20_total_documents_gold_at_0.jsonl.gz",
        instead="mdqa_pos_synth",
    ),
    **{
        UUID_RECORDS.format(keys=keys): Published(
            url=f"{_LIU}/kv_retrieval_data/kv-retrieval-{keys}_keys.jsonl.gz",
            instead="kv_uuid_synth",
            sha256=sha256,
        )
        for keys, sha256 in ((75, _SHA256_75), (140, None), (300, None))
    },
    FLENQA: Published(
        url="https://github.com/alonj/Same-Task-More-Tokens/raw/main/FLenQA.zip",
        instead="flenqa_synth",
    ),
}


def published(relative_path: str) -> Path:
    """Return the local path of a published file, after downloading it if need be.

    Args:
        relative_path: a name in :data:`PUBLISHED`, ``folder/file``. It is looked for under
            $KV_TASKS_DATA if that is set, and nowhere else then; otherwise in the cache.

    Raises:
        DataError: when the file is not in $KV_TASKS_DATA, cannot be downloaded, or is not
            the file that was published (where its SHA-256 is known).
    """
    if chosen := os.environ.get("KV_TASKS_DATA"):
        path = Path(chosen) / relative_path
        if not path.is_file():
            raise DataError(
                f"KV_TASKS_DATA={chosen}: {relative_path} is not in it; put the file there, or "
                "unset KV_TASKS_DATA to download it"
            )
        return path
    cached = cache_folder() / relative_path
    if not cached.is_file():
        _download(relative_path, cached)
    return cached


def _download(relative_path: str, target: Path) -> None:
    source = PUBLISHED[relative_path]
    ways_out = (
        f"set KV_TASKS_DATA to a folder that holds {relative_path}, or run the group "
        f"{source.instead}, which needs no data"
    )
    with atomic_path(target) as draft:
        try:
            _fetch(source.url, draft)
        except (OSError, http.client.HTTPException) as error:
            raise DataError(
                f"{source.url}: download failed ({reason_of(error)}); {ways_out}"
            ) from error
        found = sha256_file(draft)
        if source.sha256 and found != source.sha256:
            raise DataError(
                f"{source.url}: SHA-256 is {found}, expected {source.sha256}; {ways_out}"
            )


def _fetch(url: str, target: Path) -> None:
    with (
        urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response,
        target.open("wb") as out,
    ):
        shutil.copyfileobj(response, out)
        found, stated = out.tell(), response.headers["Content-Length"]
    # A connection that ends early is no error to urllib.
    if stated is not None and found != int(stated):
        raise OSError(f"it ended after {found} of {stated} bytes")


def remedy(path: Path) -> str:
    """Return what to do about a damaged file: what the cache holds is never fetched again."""
    if path.is_relative_to(cache_folder()):
        return f"delete {path} and run again to download it"
    return f"fetch {path.name} again"


def read_jsonl_gz(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a gzipped JSON-lines file.

    Raises:
        DataError: naming the file and, where there is one, the line that is no JSON object,
            or saying that the file is truncated or not gzip.
    """
    try:
        # Unpacked as a whole: jsonlines takes the EOFError of a truncated gzip file for its end.
        content = gzip.decompress(path.read_bytes())
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{path}: truncated or damaged gzip file ({error}); {remedy(path)}"
        ) from error
    try:
        return list(jsonlines.Reader(io.BytesIO(content)).iter(type=dict))
    except jsonlines.InvalidLineError as error:
        raise DataError(
            f"{path}, line {error.lineno}: not a JSON object; {remedy(path)}"
        ) from error
