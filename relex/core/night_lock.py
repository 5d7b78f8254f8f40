"""One night at a time in a folder: whoever changes what a night works on holds this lock."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from filelock import FileLock, Timeout

from relex.core.errors import Busy
from relex.core.workspace import NIGHT_LOCK


@contextlib.contextmanager
def night_lock() -> Iterator[None]:
    """Hold it; the system gives it back when the process dies. Busy at once when another holds it."""
    NIGHT_LOCK.parent.mkdir(exist_ok=True)
    lock = FileLock(NIGHT_LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise Busy(
            "another night is running in this folder",
            where=NIGHT_LOCK.resolve(),
            todo="wait for it, or cancel it in Prefect",
        ) from None
    try:
        yield
    finally:
        lock.release()
