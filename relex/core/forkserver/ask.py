"""Asking a fork server for a process: a command in the place of this one, or a helper with pipes of its own."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from relex.core.forkserver.surroundings import surroundings
from relex.core.pipes import receive, send

VARIABLE = "RELEX_FORKSERVER"  # the folder in which templates listen; not set, or empty: none
LOADED = ".loaded"  # NAME.loaded: a file in that folder, once the template has imported everything
_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_THREADS = "OMP_NUM_THREADS"


class Forked:
    """A process that a template has forked; of subprocess.Popen what a starter needs.

    pid: its process id. parent: that of its parent, which ends it when this process ends. stdin, stdout: the ends of
    its pipes that are ours, None where it was given a stream.
    """

    def __init__(self, connection: socket.socket, pid: int, parent: int):
        self._connection = connection
        self.pid, self.parent = pid, parent
        self.stdin: IO[bytes] | None = None
        self.stdout: IO[bytes] | None = None
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code (negative: the signal that ended it), None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0.0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait so many seconds for its end; its exit code. TimeoutExpired when it still runs."""
        if self.returncode is None:
            if not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("a forked process", timeout or 0.0)
            told = receive(self._connection.fileno())
            # Its keeper was killed, and it with its keeper.
            self.returncode = -signal.SIGKILL if told is None else int(told["code"])
            self._connection.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Pass a signal on; nothing where it has ended. Safe from another thread."""
        with contextlib.suppress(OSError):
            send(self._connection.fileno(), {"signal": number})

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


def has_loaded(template: str) -> bool:
    """Whether it has imported everything, and answers at once."""
    return (Path(os.environ.get(VARIABLE, "")) / f"{template}{LOADED}").is_file()


def fork(
    template: str,
    module: str,
    arguments: list[str],
    streams: tuple[int, int, int],
    *,
    title: str,
    variables: Mapping[str, str] | None = None,
) -> Forked | None:
    """`python -m module arguments`, forked from a template; None where there is no server, or it cannot do it.

    streams: the handles of its standard streams. title: what `ps` shows. variables: its environment, None for this
    process's own.
    """
    place = os.environ.get(VARIABLE)
    if not place:
        return None
    connection = _connect(Path(place), template)
    if connection is None:
        return None
    environment = dict(os.environ if variables is None else variables)
    around = surroundings()
    threads = environment.get(_THREADS)
    request = {
        "module": module,
        "arguments": arguments,
        "title": title,
        "folder": os.getcwd(),
        "path": sys.path,
        "variables": environment,
        "threads": int(threads) if threads and threads != around["variables"].get(_THREADS) else None,
        "surroundings": around,
    }
    try:
        socket.send_fds(connection, [b"."], list(streams))
        send(connection.fileno(), request)
        reply = receive(connection.fileno())
    except OSError:
        reply = None
    if reply is None or "refused" in reply:
        connection.close()
        return None
    return Forked(connection, reply["pid"], reply["parent"])


def helper(template: str, module: str, log: int, variables: Mapping[str, str]) -> Forked | None:
    """The same for a module that is talked to: its input and output are pipes, what it prints else goes to `log`."""
    requests, replies = os.pipe(), os.pipe()
    streams = requests[0], replies[1], log
    forked = fork(template, module, [], streams, title=f"python -m {module}", variables=variables)
    for handle in (requests[0], replies[1], *(() if forked else (requests[1], replies[0]))):
        os.close(handle)
    if forked:
        forked.stdin, forked.stdout = os.fdopen(requests[1], "wb", 0), os.fdopen(replies[0], "rb", 0)
    return forked


def in_place(template: str, module: str, arguments: list[str], *, title: str) -> int | None:
    """Have a template's process do what this one was started for, and pass signals on; its exit code.

    None where there is no server or it cannot do it: nothing has been done then. A signal that ended it ends this
    process, too.
    """
    # Waited for by a thread: a handler would run late, or never, where a signal comes just before a call that blocks.
    signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
    forked = fork(template, module, arguments, (0, 1, 2), title=title)
    if forked is None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
        return None
    threading.Thread(target=_pass_on, args=(forked,), name="signals", daemon=True).start()
    code = forked.wait()
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {-code})
        os.kill(os.getpid(), -code)
        time.sleep(1.0)  # never through, but for a signal that ends nothing
    return code if code >= 0 else 128 - code


def _pass_on(forked: Forked) -> None:
    while True:
        forked.send_signal(signal.sigwait(_PASSED_ON))


def _connect(place: Path, template: str) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        folder = os.open(place, os.O_PATH)
        try:
            connection.connect(f"/proc/self/fd/{folder}/{template}")
        finally:
            os.close(folder)
    except OSError:
        connection.close()
        return None
    return connection
