"""Helper processes that score text which a model wrote: bounded in time and memory, and confined to scoring.

    python -P -m relex.rewards.bounded SCORER        (started by BoundedWorker, never by hand)

The process imports the scorer once, disarms what would evaluate text (unevaluated.py), and never sees a text: it forks
servers, each of which gives up everything but scoring (confined.py): no network, no file written, no process started,
an empty environment. A server answers requests of one batch, over pipes of its own, and is killed when the batch is
over: what a text did to its interpreter, or left in its pipes, meets no other batch. A request that exceeds its bound,
that is refused as too much, or whose text is about to be run as code, ends the server at once, and the batch goes on
with the next one. An answer that is merely wrong or that no parser can read does not: a server takes some 15 ms of
processor time, a batch of 512 honest answers half a second to a few, and one in ten of such answers in it would make
that from 40 % to several times more.

Why processor time: a bound in seconds of the clock makes scores depend on load. Why a kill: a signal handler does not
run inside one huge arithmetic operation, and a server is not asked whether it ends. Why a process: math-verify's own
limit is an alarm that only the main thread may set.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
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
                [sys.executable, "-P", "-m", "relex.rewards.bounded", scorer],
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


# Answers of the usual kinds: what the libraries load and learn for them, they do once, before a server is forked.
_USUAL = (
    ("\\boxed{\\frac{1}{2}}", "0.5"),
    ("\\boxed{\\frac{3}{2}}", "7/2"),
    ("so x = 3", "3"),
    ("the answer is 1{,}000", "10^3"),
    ("\\boxed{\\{1,2\\}}", "\\{2,1\\}"),
    ("\\boxed{(1, 2]}", "1 < x \\le 2"),
    ("\\boxed{x = 2\\sqrt{3}}", "\\sqrt{12}"),
    ("\\boxed{x^2 + 2x + 1}", "(x+1)^2"),
    ("\\boxed{\\frac{\\pi}{4}}", "0.25\\pi"),
    ("\\boxed{50\\%}", "0.5"),
    ("\\boxed{5 \\text{ cm}}", "0.05 m"),
)
_WARM: Mapping[str, Sequence[dict[str, Any]]] = {
    "math-verify": [{"completion": completion, "answer": answer, "entry": None} for completion, answer in _USUAL],
}


def ask_all(scorer: str, requests: Sequence[dict[str, Any]]) -> list[Reply]:
    """The replies to a batch, as BoundedWorker.batch has them, from several servers side by side, all of its own.

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


def _serve(handle_request: Judge) -> None:
    """Answer requests until the pipe closes or one is too much. The kernel ends the process at a bound."""
    sys.stdout = None  # some scorers print, at a text's bidding: that is no reply
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
            return
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        send(1, reply)


def _fork_server(handle_request: Judge) -> int:
    """The process id of a server; the caller gets the other ends of its pipes, and this process keeps neither."""
    mine = os.getpid()
    requests, replies = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        die_with(mine)
        os.dup2(requests[0], 0)  # in place of the caller's socket, which is not for servers
        os.dup2(replies[1], 1)
        for handle in (*requests, *replies):
            os.close(handle)
        with contextlib.suppress(BrokenPipeError):
            _serve(handle_request)
        os._exit(0)
    with socket.socket(fileno=os.dup(0)) as control:
        socket.send_fds(control, [b"."], [requests[1], replies[0]])
    for handle in (*requests, *replies):
        os.close(handle)
    return child


def main(name: str) -> None:
    """Fork a server when the caller asks for one, kill it when the caller is done with it, until the socket closes."""
    check_available()  # loads the library while that may still be looked for
    handle_request = _SCORERS[name]()
    for request in _WARM.get(name, ()):
        handle_request(request)
    if name != "format":
        disarm()
    while (tasks := receive(0)) is not None:
        if tasks:
            _set_up(tasks)
        child = _fork_server(handle_request)
        order = receive(0)
        os.kill(child, signal.SIGKILL)  # one that has ended keeps its status
        _, status = os.waitpid(child, 0)
        if order is None:
            return
        send(0, os.waitstatus_to_exitcode(status))


def _set_up(tasks: Sequence[str]) -> None:
    """What the servers will need for these tasks, made once; of a task that is not there its answers tell."""
    from relex.rewards.reasoning import dataset

    for task in tasks:
        with contextlib.suppress(Exception):
            dataset(task)


if __name__ == "__main__":
    main(sys.argv[1])
