"""Ending with the process that started this one: a night whose server of a schedule is killed.

A pipe does this for the commands of a night (supervise.py). Prefect, which starts the nights of a schedule, holds no
pipe to them, and the kernel's own signal at a parent's death (relex/core/bound.py, which make uses) follows the thread
that started the process, which may end long before.
"""

from __future__ import annotations

import os
import select
import signal
import threading

VARIABLE = "RELEX_NIGHT_ENDS_WITH"  # a process id, for the runs that a served schedule starts


def end_with(parent: int) -> None:
    """Have this process killed as soon as its parent, which has that process id, has ended, however it ended."""
    try:
        handle = os.pidfd_open(parent)
    except ProcessLookupError:
        handle = None
    if handle is None or os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
        return  # never reached
    threading.Thread(target=_wait, args=(handle,), name="parent", daemon=True).start()


def _wait(handle: int) -> None:
    ended = select.poll()
    ended.register(handle, select.POLLIN)
    ended.poll()
    os.kill(os.getpid(), signal.SIGKILL)
