"""Seconds spent by a stage, kept apart from its metrics: they are all that differs between identical runs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from relex.core.atomic import write_json
from relex.core.workspace import TIMINGS


@contextlib.contextmanager
def timed(stage: str) -> Iterator[dict[str, Any]]:
    """Write timings/<stage>.json when the body ends well: its wall seconds, and what the body adds to the dict."""
    details: dict[str, Any] = {}
    start = time.perf_counter()
    yield details
    write_json(TIMINGS / f"{stage}.json", {"seconds": round(time.perf_counter() - start, 3), **details})
