"""The Prefect server a night reports to: the one PREFECT_API_URL names, or one started for as long as it is needed."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import psutil
from prefect.logging.handlers import APILogHandler
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW,
    PREFECT_SERVER_API_PORT,
    temporary_settings,
)

from flows.supervise import supervised
from relex.core.atomic import write_text
from relex.core.errors import InputError, StageFailed
from relex.core.workspace import PREFECT
from relex.params.redact import redact

_ADDRESS = PREFECT / "address"  # of the server that runs on that database, while it does
_START_SECONDS = 120


def is_ours() -> bool:
    """Whether the server that this process reports to is the one that a flow of this project started in this folder."""
    return _ADDRESS.is_file() and _ADDRESS.read_text(encoding="utf-8") == PREFECT_API_URL.value()


@contextlib.contextmanager
def prefect_server() -> Iterator[str]:
    """Yield the API's URL, with Prefect's settings pointing at it.

    A server that is started here listens at PREFECT_SERVER_API_PORT, Prefect's own setting: InputError when it was set
    and is taken. Where it was not set, and another server has Prefect's default, it is any free one.
    """
    named = PREFECT_API_URL.value()
    if named:
        yield named
        return
    PREFECT.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        url = _start(stack)
        write_text(_ADDRESS, url)
        with temporary_settings({PREFECT_API_URL: url, PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW: "ignore"}):
            try:
                yield url
            finally:
                APILogHandler().flush()  # what is still queued reaches the server before it goes
                _ADDRESS.unlink(missing_ok=True)


def page(url: str) -> str:
    """The address of the pages of the server with that API, without credentials."""
    return redact(url.removesuffix("/api"))


def _start(stack: contextlib.ExitStack) -> str:
    """Start a server that ends with `stack`; its API's URL."""
    port = PREFECT_SERVER_API_PORT.value()
    if "PREFECT_SERVER_API_PORT" in os.environ and not _is_free(port):
        raise InputError(
            "the port is taken",
            where="PREFECT_SERVER_API_PORT",
            found=port,
            todo="set another one; or, if a Prefect server listens there, set PREFECT_API_URL to use it",
        )
    ports = [port] if _is_free(port) else []
    if "PREFECT_SERVER_API_PORT" not in os.environ:
        ports.append(_free_port())  # also for when another server takes the default in this moment
    for port in ports:
        if url := _listening(stack, port):
            return url
    raise StageFailed(f"the Prefect server did not start; its log is {PREFECT / 'server.log'}")


def _listening(stack: contextlib.ExitStack, port: int) -> str | None:
    """The API's URL of a new server at `port` once it answers; None where it ends, or not in time, instead."""
    url = f"http://127.0.0.1:{port}/api"
    environment = {
        **os.environ,
        "PREFECT_HOME": str(PREFECT.resolve()),
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    }
    # By the interpreter: a night that make starts has no virtual environment on its PATH.
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    log = stack.enter_context(open(PREFECT / "server.log", "wb"))  # noqa: SIM115
    process = stack.enter_context(supervised(command, environment=environment, output=log))
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if _answers(url) and _listens(process.pid, port):
            return url
        time.sleep(0.2)
    return None


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


def _listens(pid: int, port: int) -> bool:
    """Whether it is a descendant of that process that listens there, not somebody else's server."""
    with contextlib.suppress(psutil.Error):
        for process in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in process.net_connections()):
                    return True
    return False


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
