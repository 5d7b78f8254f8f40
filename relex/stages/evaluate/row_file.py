"""Finished rows in an append-only file, so that a kill loses none of them.

One line a row: the CRC-32 of what follows, a space, the row as JSON with its key. A line that a kill or a full disk
tore, and what follows it, is cut off by whoever opens the file next. Of two lines with one key the first counts. Not
synced: what a killed process has written survives it, and after a power failure the checksums tell what is left.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_HEAD = 9  # bytes of the checksum and its space


class RowFile:
    """Rows by key. Opening reads the keys only; rows are read when they are asked for. Threads may share it.

    One process appends at a time: a night holds the lock of its folder (core/night_lock.py).
    """

    def __init__(self, path: Path):
        self.path = path
        self._lock = threading.Lock()
        self._places: dict[str, tuple[int, int]] = {}  # where a row's JSON begins, and its bytes
        self._size = 0  # of the sound lines
        self._open()

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def keys(self) -> list[str]:
        """Of the rows that are there, the oldest first."""
        return list(self._places)

    def read(self, keys: Iterable[str]) -> list[dict[str, Any]]:
        """The rows of these keys, in their order; KeyError for one that is not there."""
        places = [self._places[key] for key in keys]
        if not places:
            return []
        rows = []
        with open(self.path, "rb") as handle:
            for start, size in places:
                handle.seek(start)
                row = json.loads(handle.read(size))
                del row["key"]
                rows.append(row)
        return rows

    def append(self, rows: Mapping[str, Mapping[str, Any]]) -> None:
        """Add finished rows, by key. OSError when the disk is full: then none of them is there."""
        lines, places = [], {}
        with self._lock:
            end = self._size
            for key, row in rows.items():
                text = json.dumps({"key": key, **row}).encode()
                lines.append(_checksum(text) + text + b"\n")
                places[key] = (end + _HEAD, len(text))
                end += _HEAD + len(text) + 1
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "ab", buffering=0) as handle:
                try:
                    view = memoryview(b"".join(lines))
                    while view:
                        view = view[handle.write(view) :]
                except BaseException:
                    # What stands behind half a line would be cut off with it.
                    with contextlib.suppress(OSError):
                        os.ftruncate(handle.fileno(), self._size)
                    raise
            self._size = end
            for key, place in places.items():
                self._places.setdefault(key, place)

    def _open(self) -> None:
        if not self.path.is_file():
            return
        with open(self.path, "rb") as handle:
            for line in handle:
                text = line[_HEAD:-1]
                if not line.endswith(b"\n") or line[:_HEAD] != _checksum(text):
                    break
                self._places.setdefault(json.loads(text)["key"], (self._size + _HEAD, len(text)))
                self._size += len(line)
            torn = os.fstat(handle.fileno()).st_size > self._size
        if torn:
            os.truncate(self.path, self._size)


def _checksum(text: bytes) -> bytes:
    return b"%08x " % zlib.crc32(text)
