"""Seconds spent by a stage, when, by which commit: kept apart from its metrics, for identical runs differ in them."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from relex.core.atomic import write_json
from relex.core.workspace import TIMINGS


@contextlib.contextmanager
def timed(stage: str, folder: Path = TIMINGS) -> Iterator[dict[str, Any]]:
    """Write <folder>/<stage>.json when the body ends well: its wall seconds, when it ended (UTC, ISO 8601), the commit
    of the work tree (null outside Git), and what the body adds to the dict."""
    details: dict[str, Any] = {}
    start = time.perf_counter()
    yield details
    seconds = round(time.perf_counter() - start, 3)
    ended = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    write_json(folder / f"{stage}.json", {"seconds": seconds, "ended": ended, "commit": commit(), **details})


def commit() -> str | None:
    """The commit that the work tree here began from, None outside Git or without one."""
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
