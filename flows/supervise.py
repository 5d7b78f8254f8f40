"""Run a command so that nothing it starts outlives whoever asked for it, not even after kill -9 of any process.

    python flows/supervise.py -- COMMAND [ARG ...]

Two processes watch one command, and each other: the inner one starts the command, the outer one has started the inner
one. The asker holds the writing end of their standard input. When that end closes, for whatever reason, when the
command ends or when either of the two is killed, all that descends from the command is killed. Descendants that detach
are adopted (child subreaper): by the inner one, and once that is gone by the outer one. What the command leaves in the
system's temporary folder goes too: it has one of its own there.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from relex.core.descendants import adopt, end_all
from relex.core.pipes import die_with

_POLL_SECONDS = 0.1
_GRACE_SECONDS = 5.0
_KILLED = 128 + signal.SIGKILL


@contextlib.contextmanager
def supervised(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    output: int | IO[bytes] | None = None,
    folder: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Start `command` under supervision; on leaving the block, whatever still runs is ended.

    output: where standard output and error go (as subprocess takes it); None shares this process's own.
    folder: where the command runs; None for here.
    """
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).resolve()), "--", *command],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT if output is not None else None,
        env=dict(environment) if environment is not None else None,
        start_new_session=True,
    )
    assert process.stdin is not None  # it was asked for as a pipe
    try:
        yield process
    finally:
        process.terminate()  # politely: it is passed on, and what does not heed it is killed
        process.wait()
        # The outer one may have been killed while the inner one still cleans up: nobody reads once both are gone.
        readers = select.poll()
        readers.register(process.stdin, 0)
        readers.poll()
        process.stdin.close()


class _Told:
    """Whether SIGTERM or SIGINT came."""

    def __init__(self) -> None:
        self.to_stop = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def _note(self, _signal: int, _frame: object) -> None:
        self.to_stop = True


def _run(command: Sequence[str], outer: int, told: _Told) -> int:
    """The inner process: run one command; its exit code, or 128 + the signal that ended it."""
    adopt()
    mine = os.getpid()
    child = subprocess.Popen(list(command), stdin=subprocess.DEVNULL, preexec_fn=lambda: die_with(mine))
    ended = os.pidfd_open(child.pid)
    while child.poll() is None:
        if told.to_stop:
            end_all(_GRACE_SECONDS)
            return 128 + signal.SIGTERM
        readable, _, _ = select.select([0, ended], [], [], _POLL_SECONDS)
        if (0 in readable and not os.read(0, 1)) or os.getppid() != outer:
            end_all(0.0)
            return _KILLED
    end_all(0.0)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _watch(inner: int, told: _Told) -> int:
    """The outer process: wait for the inner one, and end what it could not."""
    ended = os.pidfd_open(inner)
    while os.waitid(os.P_PID, inner, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if told.to_stop:
            told.to_stop = False
            os.kill(inner, signal.SIGTERM)
        select.select([ended], [], [], _POLL_SECONDS / 2)
    status = os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1])
    end_all(0.0)
    return status if status >= 0 else 128 - status


def main(arguments: Sequence[str]) -> int:
    """Supervise one command; its exit code, or 128 + the signal that ended it."""
    if not arguments or arguments[0] != "--" or len(arguments) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    adopt()
    outer, told = os.getpid(), _Told()  # before the fork: a signal that comes at once is not lost
    temporary = _own_temporary_folder()
    inner = os.fork()
    try:
        code = _run(arguments[1:], outer, told) if inner == 0 else _watch(inner, told)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # the outer one, too, as the inner one may have been killed
    if inner == 0:
        os._exit(code)
    return code


def _own_temporary_folder() -> str:
    """Make one for the command, and put it into the environment."""
    os.environ["TMPDIR"] = tempfile.mkdtemp(prefix="relex-")
    return os.environ["TMPDIR"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
