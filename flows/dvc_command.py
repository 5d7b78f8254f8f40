"""DVC's own command line, forked by the night's fork server where there is one: python -m flows.dvc_command ARGUMENTS

A night calls DVC more than a dozen times a hop, and DVC takes longer to import than to find a stage up to date.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from relex.core.forkserver.ask import VARIABLE, in_place

DVC = "dvc"  # the command, and the template that it is forked from


def forked_where_possible(command: Sequence[str]) -> list[str]:
    """How to start `command`: a command of DVC by way of the fork server where this process has one, else as it is."""
    if command[0] == DVC and os.environ.get(VARIABLE):
        return [sys.executable, "-m", "flows.dvc_command", *command[1:]]
    return list(command)


def main() -> None:
    """Run DVC with this process's arguments, in its place."""
    words = sys.argv[1:]
    code = in_place(DVC, DVC, words, title=" ".join([DVC, *words]))
    if code is not None:
        sys.exit(code)
    os.execvp(DVC, [DVC, *words])


if __name__ == "__main__":
    main()
