"""Commands that begin before there is a Prefect server to report to; their tasks take them over when they come.

A night by hand starts a server, and its first commands need none. A thread runs them, one after another. A task that is
to run the next of them passes on the lines of what runs already, and ends as it does.
"""

from __future__ import annotations

import contextlib
import queue
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any

from flows.process import run_command
from relex.core.errors import RelexError


class Begun:
    """A command that runs, or has ended, and that no task has taken over yet."""

    def __init__(self, command: Sequence[str]):
        self.command = list(command)
        self._lines = queue.SimpleQueue[str | None]()  # None: the last one has come
        self._outcome: list[str] | Exception = []

    def run(self, begun: Callable[[subprocess.Popen[bytes]], None]) -> bool:
        """In the thread: run it to its end; whether that was a good one."""
        try:
            self._outcome = run_command(self.command, self._lines.put, begun=begun)
        except Exception as error:  # raised again where it is taken over
            self._outcome = error
        self._lines.put(None)
        return not isinstance(self._outcome, Exception)

    def follow(self, log: Callable[[str], Any]) -> list[str]:
        """Pass its lines on as they come; all of them. What ended it, if it did not end well."""
        while (line := self._lines.get()) is not None:
            log(line)
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome


class _Ahead:
    """The thread, and what it has begun. None of its commands begins before the one before it has ended well."""

    def __init__(self, commands: Iterable[Sequence[str]]):
        self._commands = commands
        self._changed = threading.Condition()
        self._begun = deque[Begun]()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = self._done = False
        self._thread = threading.Thread(target=self._work, name="ahead")
        self._thread.start()

    def taken(self, command: Sequence[str]) -> Begun | None:
        """The next of them, where that is it; waits while it is not known which is next."""
        with self._changed:
            self._changed.wait_for(lambda: self._begun or self._done)
            if self._begun and self._begun[0].command == list(command):
                return self._begun.popleft()
        return None

    def stop(self) -> None:
        """End what runs, and begin no more."""
        with self._changed:
            self._stopped = True
            if self._process is not None:
                self._process.terminate()
        self._thread.join()

    def _work(self) -> None:
        try:
            with contextlib.suppress(RelexError):  # whoever would run the next one meets it too
                for command in self._commands:
                    one = Begun(command)
                    with self._changed:
                        if self._stopped:
                            return
                        self._begun.append(one)
                        self._changed.notify_all()
                    if not one.run(self._note):
                        return
        finally:
            with self._changed:
                self._done = True
                self._changed.notify_all()

    def _note(self, process: subprocess.Popen[bytes]) -> None:
        with self._changed:
            self._process = process
            if self._stopped:
                process.terminate()


_AHEAD: ContextVar[_Ahead | None] = ContextVar("ahead", default=None)


@contextlib.contextmanager
def begun_ahead(commands: Iterable[Sequence[str]]) -> Iterator[None]:
    """Have `commands`, in this folder, begin one after another while the body runs; what nobody took over ends with it.

    It is asked for the next of them when the one before it has ended well, in another thread.
    """
    found = _Ahead(commands)
    before = _AHEAD.set(found)
    try:
        yield
    finally:
        _AHEAD.reset(before)
        found.stop()


def taken(command: Sequence[str]) -> Begun | None:
    """The command, where it has begun ahead: to be followed, once."""
    found = _AHEAD.get()
    return found.taken(command) if found else None
