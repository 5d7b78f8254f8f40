"""Helper processes that score text which a model wrote: bounded in time and memory, and confined to scoring.

    python -P -m relex.rewards.bounded SCORER        (started by BoundedWorker, never by hand)

The process imports the scorer once, disarms what would evaluate text (unevaluated.py), and forks a server, which gives
up everything but scoring (confined.py): no network, no file written, no process started, an empty environment. A
request that exceeds its bound, or whose text is about to be run as code, ends the server; the process reports that and
forks the next one in milliseconds from its own clean state. Why processor time: a bound in seconds of the clock makes
scores depend on load. Why a kill: a signal handler does not run inside one huge arithmetic operation. Why a process:
math-verify's own limit is an alarm that only the main thread may set.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import resource
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from relex.core.code import ROOT
from relex.core.errors import StageFailed
from relex.core.pipes import die_with, receive, send
from relex.rewards.confined import EVALUATED, check_available, confine
from relex.rewards.sizes import TooMuch
from relex.rewards.unevaluated import disarm

CPU_SECONDS = 5.0  # per request
QUICK_SECONDS = 0.5  # of a request's first try in a batch: honest answers take milliseconds
QUICKEST_SECONDS = 0.1  # of a first try in a large batch
BATCH_SECONDS = 30.0  # for the first tries of a batch together, as far as QUICKEST_SECONDS allow, and for the second
_CPU_SECONDS = {"format": 0.5}  # where a request is a matter of microseconds unless it is hostile
_POOL = 4  # servers of one scorer at most
# What the helper needs to find its modules and to compute right; the servers empty what they get.
_PASSED = ("PYTHONPATH", "LD_LIBRARY_PATH", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
MEMORY_BYTES = 4 << 30  # address space of the server
# Backstop for a request that waits instead of computing; far above what load alone can make of CPU_SECONDS.
CLOCK_SECONDS = 600


class BoundedWorker:
    """The caller's side: one process per scorer, shared by all threads of this process."""

    _shared: ClassVar[dict[tuple[int, str, int], BoundedWorker]] = {}
    _shared_lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, scorer: str, cpu_seconds: float | None = None):
        self._seconds = _CPU_SECONDS.get(scorer, CPU_SECONDS) if cpu_seconds is None else cpu_seconds
        environment = {name: os.environ[name] for name in _PASSED if name in os.environ} | {"OMP_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), environment.get("PYTHONPATH")]))
        check_available()
        self._scorer = scorer
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "relex.rewards.bounded", scorer],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            cwd="/",
            start_new_session=True,  # Ctrl-C reaches the caller, who closes the pipe
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

    def ask(self, request: dict[str, Any], cpu_seconds: float | None = None) -> dict[str, Any] | None:
        """The scorer's reply, or None when the request met its bound; {"refused": True} among the reply of a text that
        was about to be run as code. StageFailed when the process is gone."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        with self._lock:
            try:
                send(stdin.fileno(), [self._seconds if cpu_seconds is None else cpu_seconds, request])
                reply = receive(stdout.fileno())
            except BrokenPipeError:
                reply = {}
        if not reply:
            raise StageFailed(f"the scoring process for {self._scorer} ended (exit {self._process.poll()})")
        if "error" in reply:
            raise StageFailed(f"scorer {self._scorer}: {reply['error']}")
        return None if reply.get("bound") else reply

    def close(self) -> None:
        """End the process; it ends by itself when this process dies, because its pipe closes."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()
        self._process.wait()


Judge = Callable[[dict[str, Any]], dict[str, Any]]  # a request to its reply


def _math_verify() -> Judge:
    from relex.rewards.answers import judge

    return lambda request: judge(request["completion"], request["answer"], **(request["entry"] or {}))


def _format() -> Judge:
    return lambda request: {"value": float(bool(re.search(request["pattern"], request["completion"], re.DOTALL)))}


def _reasoning_gym() -> Judge:
    from relex.rewards.reasoning import judge

    return lambda request: judge(request["completion"], **request["entry"])


# What a server of that name imports once, before it is forked.
_SCORERS: Mapping[str, Callable[[], Judge]] = {
    "math-verify": _math_verify,
    "format": _format,
    "reasoning-gym": _reasoning_gym,
}


# Text that the libraries load what they need for, before anything is confined.
_WARM: Mapping[str, Sequence[dict[str, Any]]] = {
    "math-verify": [
        {"completion": completion, "answer": answer, "entry": None}
        for completion, answer in [
            ("\\boxed{\\frac{1}{2}}", "0.5"),
            ("so x = 3", "3"),
            ("\\boxed{\\{1,2\\}}", "\\{2,1\\}"),
        ]
    ],
}


def ask_all(scorer: str, requests: Sequence[dict[str, Any]]) -> list[dict[str, Any] | None]:
    """The replies to a batch, as BoundedWorker.ask gives them, from several servers side by side.

    Every request has QUICK_SECONDS at first, in a batch of more than sixty less, down to QUICKEST_SECONDS. Those that
    need more share BATCH_SECONDS, each the scorer's own bound at most: what a batch of hostile texts costs is bounded,
    and depends on the batch alone, not on its order.
    """
    first = min(QUICK_SECONDS, max(QUICKEST_SECONDS, BATCH_SECONDS / max(1, len(requests))))
    replies = _side_by_side(scorer, requests, first)
    late = [place for place, reply in enumerate(replies) if reply is None]
    seconds = min(_CPU_SECONDS.get(scorer, CPU_SECONDS), BATCH_SECONDS / len(late)) if late else 0.0
    if seconds > first:
        for place, reply in zip(late, _side_by_side(scorer, [requests[at] for at in late], seconds), strict=True):
            replies[place] = reply
    return replies


def _side_by_side(scorer: str, requests: Sequence[dict[str, Any]], cpu_seconds: float) -> list[dict[str, Any] | None]:
    servers = max(1, min(len(os.sched_getaffinity(0)), _POOL, len(requests)))
    turns = iter(range(len(requests)))
    lock, replies = threading.Lock(), dict[int, dict[str, Any] | None]()

    def work(number: int) -> None:
        worker = BoundedWorker.shared(scorer, number)
        while True:
            with lock:
                place = next(turns, None)
            if place is None:
                return
            replies[place] = worker.ask(requests[place], cpu_seconds)

    with ThreadPoolExecutor(servers) as pool:
        for done in [pool.submit(work, number) for number in range(servers)]:
            done.result()
    return [replies[place] for place in range(len(requests))]


def _serve(handle_request: Judge) -> None:
    """Answer requests until the pipe closes. The kernel ends this process when a request exceeds a bound."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ.clear()
    confine(reply=1)
    while (message := receive(0)) is not None:
        cpu_seconds, request = message
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
        signal.setitimer(signal.ITIMER_REAL, CLOCK_SECONDS)
        try:
            reply = handle_request(request)
        except (MemoryError, RecursionError, TooMuch):
            reply = {"bound": True}
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        send(1, reply)


def _caller_ends_before(child: int) -> bool:
    """Wait for the server to end, or for the caller: its end of the pipe closes even when it is killed."""
    handle = os.pidfd_open(child)
    try:
        first = select.poll()
        first.register(handle, select.POLLIN)
        first.register(0, 0)  # tells of the end alone: what is there to read is the server's
        ended = {descriptor for descriptor, _ in first.poll()}
    finally:
        os.close(handle)
    return handle not in ended


def main(name: str) -> None:
    """Fork servers until the caller closes the pipe."""
    check_available()  # loads the library while that may still be looked for
    handle_request = _SCORERS[name]()
    for request in _WARM.get(name, ()):
        handle_request(request)
    if name != "format":
        disarm()
    mine = os.getpid()
    while True:
        child = os.fork()
        if child == 0:
            die_with(mine)
            with contextlib.suppress(BrokenPipeError):
                _serve(handle_request)
            os._exit(0)
        if _caller_ends_before(child):
            os.kill(child, signal.SIGKILL)
            return
        _, status = os.waitpid(child, 0)
        if status == 0:
            return
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == EVALUATED:
            send(1, {"value": 0.0, "extracted": None, "refused": True})
        else:
            send(1, {"bound": True})


if __name__ == "__main__":
    main(sys.argv[1])
