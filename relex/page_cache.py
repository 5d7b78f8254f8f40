"""Whether a file's bytes are in the page cache."""

from __future__ import annotations

import os


def holds(handle: int, start: int, length: int) -> bool:
    """Whether the page cache seems to hold `length` bytes of an open file from `start` on, by a look at both ends.

    False where the system cannot say (not Linux, or a file system without reads that do not wait).
    """
    flag = getattr(os, "RWF_NOWAIT", None)
    if flag is None:
        return False
    one = bytearray(1)
    places = {start, start + length - 1} if length else set()
    try:
        return all(os.preadv(handle, [one], place, flag) == 1 for place in sorted(places))
    except OSError:
        return False
