"""The finished rows of a batch that is still being generated: an append-only file, so that a kill loses none of them.

One line a row: the CRC-32 of what follows, a space, the row as JSON. A line that a kill or a full disk tore, and what
follows it, is cut off by the next reader. Not synced: what a killed process has written survives it, and after a power
failure the checksums tell what is left.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class RowsPart:
    """Completions by their place in the batch. Its content is keyed by the batch's, so it needs no key of its own."""

    def __init__(self, path: Path):
        self.path = path

    def read(self) -> dict[int, dict[str, Any]]:
        """The rows so far, by place; empty when there are none. Cuts a torn end off."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return {}
        rows: dict[int, dict[str, Any]] = {}
        sound = 0
        for line in data.splitlines(keepends=True):
            text = line[9:-1]
            if not line.endswith(b"\n") or line[:9] != _checksum(text):
                os.truncate(self.path, sound)
                break
            row = json.loads(text)
            rows[row.pop("place")] = row
            sound += len(line)
        return rows

    def append(self, rows: Mapping[int, Mapping[str, Any]]) -> None:
        """Add finished rows, by place."""
        lines = []
        for place, row in rows.items():
            text = json.dumps({"place": place, **row}).encode()
            lines.append(_checksum(text) + text + b"\n")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "ab", buffering=0) as handle:
            view = memoryview(b"".join(lines))
            while view:
                view = view[handle.write(view) :]

    def remove(self) -> None:
        """Once the batch itself is saved."""
        self.path.unlink(missing_ok=True)


def _checksum(text: bytes) -> bytes:
    return b"%08x " % zlib.crc32(text)
