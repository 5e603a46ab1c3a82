"""What became of every object, a line of JSON each: `render_log.jsonl` in the output folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from openlrm.errors import UserError
from openlrm.factory.work import FAILED, Result

ATTEMPTS = 2
"""How often an object is tried in all."""


class RenderLog:
    """The log of one driver; open, it keeps a second driver of the same shard away."""

    def __init__(self, output: Path, shard: int = 1, count: int = 1) -> None:
        """Open it for appending.

        Args:
            output: folder of rendered objects.
            shard: number of the shard, from 1.
            count: number of shards; each has its own file.

        Raises:
            UserError: another driver is at work on it, or it cannot be written.
        """
        name = "render_log.jsonl" if count == 1 else f"render_log.{shard}-of-{count}.jsonl"
        self.path = output / name
        try:
            self._stream = self.path.open("a", encoding="utf-8")
        except OSError as error:
            raise UserError(f"cannot write the log ({error.strerror})", self.path) from error
        if not _lock(self._stream):
            self._stream.close()
            hint = "wait for it, end it, or give each its shard=i/n"
            raise UserError("another driver is rendering into this folder", self.path, hint)
        if not _ends_a_line(self.path):
            self._stream.write("\n")  # a driver was killed while it wrote

    def add(self, result: Result) -> None:
        """Append a result; it is on disk when this returns."""
        self._stream.write(json.dumps(result.to_dict()) + "\n")
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def close(self) -> None:
        """Close the file and let others in."""
        self._stream.close()


def read_logs(output: Path) -> dict[str, list[dict[str, Any]]]:
    """Read the logs of all drivers of a folder.

    Args:
        output: folder of rendered objects.

    Returns:
        uid -> its lines as dictionaries, in the order they were written.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(output.glob("render_log*.jsonl")):
        for line in _lines(path):
            found.setdefault(line["uid"], []).append(line)
    return found


def exhausted(lines: list[dict[str, Any]], sha256: str) -> str | None:
    """Return why an object needs no further attempt: it failed often enough, and its file is still the same.

    Args:
        lines: its lines in the logs.
        sha256: of the file now.
    """
    failures = [line for line in lines if line["state"] == FAILED and line.get("sha256") == sha256]
    return failures[-1]["reason"] if len(failures) >= ATTEMPTS else None


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8", errors="replace") as stream:
        for text in stream:
            try:
                line = json.loads(text)
            except ValueError:
                continue  # half a line, see RenderLog
            if isinstance(line, dict) and isinstance(line.get("uid"), str) and isinstance(line.get("state"), str):
                yield line


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as stream:
        if not stream.seek(0, os.SEEK_END):
            return True
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) == b"\n"


def _lock(stream: TextIO) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
