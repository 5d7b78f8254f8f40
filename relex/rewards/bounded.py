"""A helper process that scores one request at a time, within bounds of processor time and memory.

    python -m relex.rewards.bounded SCORER        (started by BoundedWorker, never by hand)

The process imports the scorer once and forks a server. A request that exceeds its bound kills the server; the process
reports that and forks the next one in milliseconds. Why processor time: a bound in seconds of the clock makes scores
depend on load. Why a kill: a signal handler does not run inside one huge arithmetic operation. Why a process:
math-verify's own limit is an alarm that only the main thread may set.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from relex.core.code import ROOT
from relex.core.errors import StageFailed
from relex.core.pipes import receive, send

CPU_SECONDS = 5.0  # per request
_CPU_SECONDS = {"format": 0.5}  # where a request is a matter of microseconds unless it is hostile
MEMORY_BYTES = 4 << 30  # address space of the server
# Backstop for a request that waits instead of computing; far above what load alone can make of CPU_SECONDS.
CLOCK_SECONDS = 600


class BoundedWorker:
    """The caller's side: one process per scorer, shared by all threads of this process."""

    _shared: ClassVar[dict[tuple[int, str], BoundedWorker]] = {}
    _shared_lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, scorer: str, cpu_seconds: float | None = None):
        seconds = _CPU_SECONDS.get(scorer, CPU_SECONDS) if cpu_seconds is None else cpu_seconds
        environment = dict(os.environ, RELEX_BOUNDED_CPU=str(seconds), OMP_NUM_THREADS="1")
        root = str(ROOT)
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, environment.get("PYTHONPATH")]))
        self._scorer = scorer
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "relex.rewards.bounded", scorer],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # Ctrl-C reaches the caller, who closes the pipe
        )

    @classmethod
    def shared(cls, scorer: str) -> BoundedWorker:
        """The worker of this process for `scorer`; a forked child gets one of its own."""
        key = (os.getpid(), scorer)
        with cls._shared_lock:
            worker = cls._shared.get(key)
            if worker is None or worker._process.poll() is not None:
                worker = cls._shared[key] = cls(scorer)
                atexit.register(worker.close)
            return worker

    def ask(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """The scorer's reply, or None when the request met its bound. StageFailed when the process is gone."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        with self._lock:
            try:
                send(stdin.fileno(), request)
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


def _serve(handle_request: Callable[[dict[str, Any]], dict[str, Any]], cpu_seconds: float) -> None:
    """Answer requests until the pipe closes. The kernel ends this process when a request exceeds a bound."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while (request := receive(0)) is not None:
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
        signal.setitimer(signal.ITIMER_REAL, CLOCK_SECONDS)
        try:
            reply = handle_request(request)
        except (MemoryError, RecursionError):
            reply = {"bound": True}
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        send(1, reply)


def main(name: str) -> None:
    """Fork servers until the caller closes the pipe."""
    cpu_seconds = float(os.environ["RELEX_BOUNDED_CPU"])
    handle_request = _SCORERS[name]()
    while True:
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BrokenPipeError):
                _serve(handle_request, cpu_seconds)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status == 0:
            return
        send(1, {"bound": True})


if __name__ == "__main__":
    main(sys.argv[1])
