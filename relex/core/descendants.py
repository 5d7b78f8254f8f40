"""The processes that descend from this one: adopted when their own parents end, and ended, all of them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from collections.abc import Set

import psutil

_PR_SET_CHILD_SUBREAPER = 36


def adopt() -> None:
    """Make whatever descends from this process its child when its own parent ends (child subreaper, Linux)."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants() -> list[psutil.Process]:
    """All of them, those that have ended and were not collected among them."""
    return psutil.Process().children(recursive=True)


def end_strangers(known: Set[int]) -> bool:
    """SIGKILL to every child that is not one of these, and to all that descends from it; whether there was one."""
    strangers = [child for child in psutil.Process().children() if child.pid not in known]
    for stranger in strangers:
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in [*stranger.children(recursive=True), stranger]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
    return bool(strangers)


def end_all(grace: float) -> None:
    """SIGTERM to every descendant, SIGKILL to what is left after `grace` seconds, until none is left."""
    for process in descendants():
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    deadline = time.monotonic() + grace
    while descendants():
        reap()
        if time.monotonic() >= deadline:
            for process in descendants():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        time.sleep(0.02)


def reap() -> list[int]:
    """Collect children that have ended, so that they do not stay as zombies; their process ids."""
    ended: list[int] = []
    with contextlib.suppress(ChildProcessError):
        while pid := os.waitpid(-1, os.WNOHANG)[0]:
            ended.append(pid)
    return ended
