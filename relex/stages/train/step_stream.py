"""The training's steps as they happen: one JSON line each, for who follows a run and for a run that resumes."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from relex.core.atomic import write_text
from relex.core.workspace import STATE

STREAM = STATE / "train_steps.jsonl"


class StepStream:
    """Appends lines to the stream. A fresh run begins it anew, under a new id; one that resumes after step `after`
    keeps id and lines up to there. `rows`: the lines that were kept."""

    def __init__(self, *, after: int = 0, path: Path = STREAM):
        self._path = path
        identity, rows = read(path) if after else (None, [])
        self.rows = [row for row in rows if row["step"] <= after]
        lines = [{"id": identity or uuid.uuid4().hex}, *self.rows]
        write_text(path, "".join(json.dumps(line) + "\n" for line in lines))

    def append(self, row: Mapping[str, float]) -> None:
        """Add one step: its number under `step`, and its metrics."""
        line = json.dumps(dict(row)) + "\n"
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(handle, line.encode())  # one write: a reader sees no half of it that stays half
        finally:
            os.close(handle)

    def sync(self) -> None:
        """Make what was appended durable."""
        handle = os.open(self._path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read(path: Path = STREAM) -> tuple[str | None, list[dict[str, Any]]]:
    """The id of the run, and its complete lines so far; (None, []) when there is no stream."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None, []
    lines = text[: text.rfind("\n") + 1].splitlines()
    if not lines:
        return None, []
    head, *rows = (json.loads(line) for line in lines)
    return head["id"], rows
