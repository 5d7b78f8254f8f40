"""A piece of this project's code killed at every line that it executes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from relex.core import atomic

FILES = {str(Path(atomic.__file__).with_name(name)) for name in ("atomic.py", "rename.py", "owner.py")}


def killed_at_every_line(prepare: Callable[[], None], action: Callable[[], Any]) -> Iterator[int]:
    """For each line of FILES that `action` executes: prepare, run it in a process that is killed there, yield.

    What is yielded is the number of the line; the last run is not killed, and is not yielded.
    """
    number = 0
    while True:
        prepare()
        child = os.fork()
        if child == 0:
            os._exit(_run(action, number))
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            assert os.waitstatus_to_exitcode(status) == 0
            assert number > 20  # lines were traced at all
            return
        yield number
        number += 1


def _run(action: Callable[[], Any], kill_at: int) -> int:
    left = kill_at

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal left
        if frame.f_code.co_filename not in FILES:
            return None
        if event == "line":
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
        return trace

    sys.settrace(trace)
    try:
        action()
    except BaseException:
        return 1
    finally:
        sys.settrace(None)
    return 0
