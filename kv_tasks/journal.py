"""What a long computation has answered so far, kept when it is killed."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class Journal:
    """Answers as they come: a JSON lines file that grows until its work is done.

    A line is a request's key and its answer. The file's name holds a digest of all that decides
    the answers, so that none is ever used for another model, adapter, task version or seed.
    """

    def __init__(self, path: Path) -> None:
        """Read what an interrupted run left; from a line on that a kill or a disk cut, nothing."""
        self._path = path
        self._answers: dict[str, Any] = {}
        kept = 0
        for line in path.read_bytes().splitlines(keepends=True) if path.is_file() else ():
            try:
                if not line.endswith(b"\n"):
                    raise ValueError("no end")
                key, answer = json.loads(line)
            except ValueError:
                os.truncate(path, kept)
                break
            self._answers[key] = answer
            kept += len(line)

    def __len__(self) -> int:
        return len(self._answers)

    def __contains__(self, key: str) -> bool:
        return key in self._answers

    def __getitem__(self, key: str) -> Any:
        answer = self._answers[key]
        # A log-likelihood is a pair, which JSON keeps as a list.
        return tuple(answer) if isinstance(answer, list) else answer

    def add(self, keys: Sequence[str], answers: Sequence[Any]) -> None:
        """Write answers down, on the disk before this returns."""
        self._answers |= dict(zip(keys, answers, strict=True))
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as stream:
            stream.writelines(json.dumps(pair) + "\n" for pair in zip(keys, answers, strict=True))
            stream.flush()
            os.fsync(stream.fileno())

    def discard(self) -> None:
        """Delete the file: what the answers were for is written."""
        self._path.unlink(missing_ok=True)
