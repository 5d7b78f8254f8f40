"""Files damaged as a medium or a careless hand damages them."""

from __future__ import annotations

import os
from pathlib import Path


def flip(path: Path) -> None:
    """Turn the last bit, and put mode, size, modification time and inode back to what they were."""
    state = path.stat()
    path.chmod(0o644)
    with open(path, "r+b") as handle:
        handle.seek(-1, os.SEEK_END)
        last = handle.read(1)[0]
        handle.seek(-1, os.SEEK_END)
        handle.write(bytes([last ^ 1]))
    path.chmod(state.st_mode & 0o777)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    now = path.stat()
    same = ("st_size", "st_mtime_ns", "st_ino", "st_mode")
    assert all(getattr(now, name) == getattr(state, name) for name in same)
