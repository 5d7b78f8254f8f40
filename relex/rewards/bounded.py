"""Text that a model wrote, scored by processes that are bounded in time and memory: the caller's side.

A server (scoring_server.py) answers requests of one batch, over pipes of its own, and is killed when the batch is over:
what a text did to its interpreter, or left in its pipes, meets no other batch. A request that exceeds its bound, that
is refused as too much, or whose text is about to be run as code, ends the server at once, and the batch goes on with
the next one. An answer that is merely wrong, or that no parser can read, does not: a new server takes some 15 ms of
processor time, so that one such answer in ten would make a batch take from 1.4 to more than six times as long.

Why processor time: a bound in seconds of the clock makes scores depend on load. Why a kill: a signal handler does not
run inside one huge arithmetic operation, and a server is not asked whether it ends. Why a process: math-verify's own
limit is an alarm that only the main thread may set.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ClassVar

from relex.core.code import ROOT
from relex.core.errors import StageFailed
from relex.core.pipes import receive, send
from relex.rewards.confined import EVALUATED, check_available

CPU_SECONDS = 5.0  # per request
QUICK_SECONDS = 0.5  # of a request's first try in a batch: honest answers take milliseconds
QUICKEST_SECONDS = 0.1  # of a first try in a large batch
BATCH_SECONDS = 30.0  # for the first tries of a batch together, as far as QUICKEST_SECONDS allow, and for the second
_CPU_SECONDS = {"format": 0.5}  # where a request is a matter of microseconds unless it is hostile
_POOL = 4  # servers of one scorer at most
# What the helper needs to find its modules and to compute right; the servers empty what they get.
_PASSED = ("PYTHONPATH", "LD_LIBRARY_PATH", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")

Reply = dict[str, Any] | None
Ask = Callable[..., Reply]  # (request, cpu_seconds), the worker's own where not given


class BoundedWorker:
    """The caller's side: one process per scorer, shared by all threads of this process, a batch at a time.

    cpu_seconds: the bound of a request that brings none, the scorer's own where not given.
    """

    _shared: ClassVar[dict[tuple[int, str, int], BoundedWorker]] = {}
    _shared_lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, scorer: str, cpu_seconds: float | None = None):
        self._seconds = _CPU_SECONDS.get(scorer, CPU_SECONDS) if cpu_seconds is None else cpu_seconds
        environment = {name: os.environ[name] for name in _PASSED if name in os.environ} | {"OMP_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), environment.get("PYTHONPATH")]))
        check_available()
        self._scorer = scorer
        self._lock = threading.Lock()
        self._server: tuple[int, int] | None = None  # where its requests are written, where its replies are read
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "relex.rewards.scoring_server", scorer],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env=environment,
                cwd="/",
                start_new_session=True,  # Ctrl-C reaches the caller, who closes the socket
            )

    @classmethod
    def shared(cls, scorer: str, number: int = 0) -> BoundedWorker:
        """A worker of this process for `scorer`; a forked child gets workers of its own."""
        key = (os.getpid(), scorer, number)
        with cls._shared_lock:
            worker = cls._shared.get(key)
            if worker is None or worker._process.poll() is not None:
                worker = cls._shared[key] = cls(scorer)
                atexit.register(worker.close)
            return worker

    @contextlib.contextmanager
    def batch(self, tasks: Sequence[str] = ()) -> Iterator[Ask]:
        """Servers of its own for a batch, none of which outlives it; other threads wait for their turn.

        tasks: what the requests name that takes long to set up (reasoning-gym: its tasks), set up before a server is
        forked. Yields `ask`: the scorer's reply to a request, or None when it met its bound; {"refused": True} among
        the reply to a text that was about to be run as code. StageFailed when the process is gone.
        """
        with self._lock:
            try:
                yield partial(self._ask, tasks)
            finally:
                if self._server is not None:
                    self._end_server()

    def _ask(self, tasks: Sequence[str], request: dict[str, Any], cpu_seconds: float | None = None) -> Reply:
        if self._server is None:
            self._server = self._new_server(tasks)
        requests, replies = self._server
        try:
            send(requests, [self._seconds if cpu_seconds is None else cpu_seconds, request])
            reply = receive(replies)
        except BrokenPipeError:
            reply = None
        if reply is None:
            evaluated = self._end_server() == EVALUATED
            return {"value": 0.0, "extracted": None, "refused": True} if evaluated else None
        if "error" in reply:
            raise StageFailed(f"scorer {self._scorer}: {reply['error']}")
        return reply

    def _new_server(self, tasks: Sequence[str]) -> tuple[int, int]:
        # The process makes the pipes and keeps none of them: only then does the server's end close them.
        try:
            send(self._control.fileno(), tasks)
            _, handles, _, _ = socket.recv_fds(self._control, 1, 2, socket.MSG_CMSG_CLOEXEC)
        except ConnectionError:
            handles = []
        if len(handles) != 2:
            raise self._gone()
        return handles[0], handles[1]

    def _end_server(self) -> int:
        """The exit status of the server, as subprocess has it, when nothing is left of it."""
        for handle in self._server or ():
            os.close(handle)
        self._server = None
        try:
            send(self._control.fileno(), "end")
            status = receive(self._control.fileno())
        except ConnectionError:
            status = None
        if status is None:
            raise self._gone()
        return int(status)

    def _gone(self) -> StageFailed:
        return StageFailed(f"the scoring process for {self._scorer} ended (exit {self._process.poll()})")

    def close(self) -> None:
        """End the process; it ends by itself when this process dies, because its socket closes."""
        self._control.close()
        self._process.wait()


def ask_all(scorer: str, requests: Sequence[dict[str, Any]], cpu_seconds: float | None = None) -> list[Reply]:
    """The replies to a batch, as BoundedWorker.batch has them, from several servers side by side, all of its own.

    Every request has QUICK_SECONDS at first, in a batch of more than sixty less, down to QUICKEST_SECONDS. Those that
    need more share BATCH_SECONDS, each the scorer's own bound at most: what a batch of hostile texts costs is bounded,
    and depends on the batch alone, not on its order. With `cpu_seconds`, every request has so much and no more: then a
    reply does not depend on the batch either, and n hostile texts cost n times as much.
    """
    if cpu_seconds is not None:
        return _side_by_side(scorer, requests, cpu_seconds)
    first = min(QUICK_SECONDS, max(QUICKEST_SECONDS, BATCH_SECONDS / max(1, len(requests))))
    replies = _side_by_side(scorer, requests, first)
    late = [place for place, reply in enumerate(replies) if reply is None]
    seconds = min(_CPU_SECONDS.get(scorer, CPU_SECONDS), BATCH_SECONDS / len(late)) if late else 0.0
    if seconds > first:
        for place, reply in zip(late, _side_by_side(scorer, [requests[at] for at in late], seconds), strict=True):
            replies[place] = reply
    return replies


def _side_by_side(scorer: str, requests: Sequence[dict[str, Any]], cpu_seconds: float) -> list[Reply]:
    servers = max(1, min(len(os.sched_getaffinity(0)), _POOL, len(requests)))
    tasks = sorted({request["entry"]["task"] for request in requests}) if scorer == "reasoning-gym" else []
    turns = iter(range(len(requests)))
    lock, replies = threading.Lock(), dict[int, Reply]()

    def work(number: int) -> None:
        with BoundedWorker.shared(scorer, number).batch(tasks) as ask:
            while True:
                with lock:
                    place = next(turns, None)
                if place is None:
                    return
                replies[place] = ask(requests[place], cpu_seconds)

    with ThreadPoolExecutor(servers) as pool:
        for done in [pool.submit(work, number) for number in range(servers)]:
            done.result()
    return [replies[place] for place in range(len(requests))]
