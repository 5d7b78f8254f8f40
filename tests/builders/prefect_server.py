"""A Prefect server of a test's own, and questions to it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from prefect.client.orchestration import PrefectClient

from flows.supervise import supervised
from tests.builders.project import Project, wait_for
from tests.builders.set_up import tables


class Server:
    """Where it answers, and a question to it: a coroutine of its client."""

    def __init__(self, url: str):
        self.url = url

    def ask(self, question: Callable[[PrefectClient], Awaitable[Any]]) -> Any:
        async def asked() -> Any:
            async with PrefectClient(self.url) as client:
                return await question(client)

        return asyncio.run(asked())

    def states(self) -> list[str]:
        """Of all flow runs."""
        return [run.state_type.value for run in self.ask(lambda client: client.read_flow_runs())]

    def state_of(self, run: Any) -> str:
        """Of one flow run, by its id."""
        return str(self.ask(lambda client: client.read_flow_run(run)).state_type.value)


@contextlib.contextmanager
def prefect_server(home: Path) -> Iterator[Server]:
    """Start one with its database in `home`; it ends with the body."""
    tables(home)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    environment = {**os.environ, "PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    command = [str(Path(sys.executable).parent / "prefect"), "server", "start", "--host", "127.0.0.1"]
    with (
        open(home / "log", "wb") as log,
        supervised([*command, "--port", str(port), "--no-ui"], environment=environment, output=log),
    ):
        assert wait_for(lambda: _answers(url), 120), (home / "log").read_text()
        yield Server(url)


def serve(project: Project, cron: str, log: BinaryIO) -> subprocess.Popen[bytes]:
    """`python -m flows.nightly --serve` in the background."""
    return subprocess.Popen(
        [sys.executable, "-m", "flows.nightly", "--serve", cron],
        cwd=project.folder,
        env=project.environment,
        stdout=log,
        stderr=subprocess.STDOUT,
    )


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2):
            return True
    except OSError:
        return False
