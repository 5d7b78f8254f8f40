"""The process that scores text which a model wrote, and can do nothing else.

    python -P -m relex.rewards.scoring_server SCORER        (started by bounded.py, never by hand)

It imports the scorer once, disarms what would evaluate text (unevaluated.py), and never sees a text: it forks servers,
each of which gives up everything but scoring (confined.py): no network, no file written, no process started, an empty
environment.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from relex.core.pipes import die_with, receive, send
from relex.rewards.confined import check_available, confine
from relex.rewards.sizes import TooMuch
from relex.rewards.unevaluated import disarm

MEMORY_BYTES = 4 << 30  # address space of a server
# Backstop for a request that waits instead of computing; far above what load alone can make of its processor time.
CLOCK_SECONDS = 600

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
