"""Run a command that the kernel kills when the process that asked for it dies, however it dies.

    python -m relex.core.bound PARENT COMMAND [ARG ...]

PARENT is the asker's process id. It takes the place of this process, so that its id and its exit code are the asker's
to know. Start it from a thread that outlives it.
"""

from __future__ import annotations

import os
import sys

from relex.core.pipes import die_with


def bound(command: list[str]) -> list[str]:
    """The command line that runs `command` bound to this process."""
    return [sys.executable, "-m", "relex.core.bound", str(os.getpid()), *command]


if __name__ == "__main__":
    die_with(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
