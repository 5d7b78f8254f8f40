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
from pathlib import Path

from prefect.logging.handlers import APILogHandler
from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW, temporary_settings

from flows.supervise import supervised
from relex.core.atomic import write_text
from relex.core.errors import StageFailed

HOME = Path(".prefect")  # its database: the history of runs outlives the server
_ADDRESS = HOME / "address"  # of the server that runs on that database, while it does
_START_SECONDS = 120


def is_ours() -> bool:
    """Whether the server that this process reports to is the one that a flow of this project started on HOME."""
    return _ADDRESS.is_file() and _ADDRESS.read_text(encoding="utf-8") == PREFECT_API_URL.value()


@contextlib.contextmanager
def prefect_server() -> Iterator[str]:
    """Yield the API's URL, with Prefect's settings pointing at it."""
    named = PREFECT_API_URL.value()
    if named:
        yield named
        return
    port = _free_port()
    url = f"http://127.0.0.1:{port}/api"
    HOME.mkdir(exist_ok=True)
    environment = {
        **os.environ,
        "PREFECT_HOME": str(HOME.resolve()),
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    }
    # By the interpreter: a night that make starts has no virtual environment on its PATH.
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with open(HOME / "server.log", "wb") as log, supervised(command, environment=environment, output=log) as process:
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise StageFailed(f"the Prefect server did not start; its log is {HOME / 'server.log'}")
            time.sleep(0.2)
        write_text(_ADDRESS, url)
        with temporary_settings({PREFECT_API_URL: url, PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW: "ignore"}):
            try:
                yield url
            finally:
                APILogHandler().flush()  # what is still queued reaches the server before it goes
                _ADDRESS.unlink(missing_ok=True)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
