"""Whose a temporary name is: the name tells which process made it, and whether that one still lives can be found out.

A process is told by its id and its start, within one space of process ids: those of one boot of one host, and of one
container on it. Two containers that share a folder do not see each other's processes, so the owner also holds a lock
on what it writes, which the kernel gives up with it; what another space's process made counts as left behind only
when nobody holds that lock and nothing in it has changed for an hour.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import re
import secrets
import socket
import time
from pathlib import Path

PREFIX = ".tmp-"
_FOREIGN_SECONDS = 3600.0
# SQLite makes files beside its database, named after it.
_NAME = re.compile(
    re.escape(PREFIX) + r"(?P<name>.*)-(?P<space>[0-9a-f]{8})\.(?P<pid>\d+)\.(?P<start>\d+)-[0-9a-f]{8}(?:\W.*)?"
)


def temporary_name(name: str) -> str:
    """A name beside `name` that nobody else takes and that tells this process as its owner."""
    mine = f"{_space()}.{os.getpid()}.{_started(os.getpid())}"
    # A file's name has 255 bytes at most; the end of a long one is the less telling part.
    return f"{PREFIX}{os.fsdecode(os.fsencode(name)[:160])}-{mine}-{secrets.token_hex(4)}"


def final_name(temporary: Path) -> Path:
    """What a temporary path will be called, for messages; any other path as it is."""
    told = _NAME.fullmatch(temporary.name)
    return temporary.with_name(told["name"]) if told else temporary


def hold(handle: int) -> None:
    """Lock an open temporary file or folder for as long as it is open; nothing where the file system has no locks."""
    with contextlib.suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def left_behind(path: Path) -> bool:
    """Whether `path`, whose name begins with PREFIX, was left by a process that is gone."""
    told = _NAME.fullmatch(path.name)
    if told and told["space"] == _space():
        return _started(int(told["pid"])) != int(told["start"])
    return _untouched(path) and _unlocked(path)


@functools.cache
def _space() -> str:
    """This host, its boot and this container's process ids, as 8 hexadecimal digits."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    facts = f"{socket.gethostname()} {boot} {os.stat('/proc/self/ns/pid').st_ino}"
    return hashlib.sha256(facts.encode()).hexdigest()[:8]


def _started(pid: int) -> int | None:
    """When a process began, in clock ticks since boot; None when it has ended."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = told.rpartition(")")[2].split()  # after the program's name, which may hold anything
    return None if fields[0] in "ZX" else int(fields[19])


def _untouched(path: Path) -> bool:
    newest = path.lstat().st_mtime
    if path.is_dir() and not path.is_symlink():
        newest = max([newest, *(entry.lstat().st_mtime for entry in path.rglob("*"))])
    return time.time() - newest > _FOREIGN_SECONDS


def _unlocked(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True
