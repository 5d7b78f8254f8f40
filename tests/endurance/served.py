"""A served schedule that fires again and again: the resident memory of the process that serves it.

    python -m tests.endurance.served --firings 30

On a real Prefect server `python -m flows.nightly --serve` is fired so many times, one after another: the first is a
whole night in miniature; each further one finds that the campaign has had its nights, says so and ends. The serving
process lives on from one to the next, for as long as a schedule does. Exit code 0 if after the last firing its memory
is at most a twentieth above that after the fifth, and if it ends with all that it started once it is told to. A firing
takes some 10 s.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil

from relex.core.sizes import show_bytes
from tests.builders.prefect_server import Server, prefect_server, serve
from tests.builders.project import Project, alive, family, wait_for
from tests.endurance.miniature import MINIATURE

_CHANGES = {**MINIATURE, "evaluate.backend": "transformers", "nights.campaign.nights": 1, "nights.budget.hops": 1}
_SETTLED = 5  # firings after which what is imported late has been
_ALLOWED = 1.05
_ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
_NIGHT_SECONDS, _END_SECONDS = 1200, 60


def main() -> int:
    """The command line; its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.endurance.served",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--firings", type=int, default=30, help=f"at least {_SETTLED + 1} (default: 30)")
    options = parser.parse_args()
    if options.firings <= _SETTLED:
        parser.error(f"--firings: at least {_SETTLED + 1}")
    with tempfile.TemporaryDirectory(prefix="served-") as place:
        taken, left = run(Path(place), options.firings)
    settled, last = taken[_SETTLED - 1], taken[-1]
    print(
        f"memory of the serving process: {show_bytes(settled)} after {_SETTLED} firings, {show_bytes(last)} at the end"
    )
    print(f"processes left: {left}")
    return int(last > _ALLOWED * settled or left > 0)


def run(place: Path, firings: int) -> tuple[list[int], int]:
    """Resident bytes of the serving process after each firing, and how many of its processes outlived it."""
    home = place / "prefect"
    home.mkdir()
    with prefect_server(home) as server:
        project = Project.make(place / "project", _CHANGES)
        project.environment |= {"PREFECT_API_URL": server.url, "PREFECT_HOME": str(project.folder / ".prefect")}
        with open(place / "log", "wb") as log:
            process = serve(project, "0 0 1 1 *", log)
        try:
            taken = [_fired(server, process, number) for number in range(1, firings + 1)]
        finally:
            known = family(process.pid)
            process.send_signal(signal.SIGTERM)
            process.wait(_END_SECONDS)
        wait_for(lambda: not any(alive(one) for one in known), _END_SECONDS)
        return taken, sum(alive(one) for one in known)


def _fired(server: Server, process: subprocess.Popen[bytes], number: int) -> int:
    """Fire once, wait for the end, and look; RuntimeError for a firing that did not complete."""
    assert wait_for(lambda: _deployment(server) is not None, _END_SECONDS), "nothing is served"
    deployment = _deployment(server)
    fired = server.ask(lambda client: client.create_flow_run_from_deployment(deployment.id))
    wait_for(lambda: server.state_of(fired.id) in _ENDED, _NIGHT_SECONDS)
    state = server.state_of(fired.id)
    if state != "COMPLETED":
        raise RuntimeError(f"firing {number}: {state}")
    resident = int(psutil.Process(process.pid).memory_info().rss)
    print(f"firing {number}: {show_bytes(resident)}", flush=True)
    return resident


def _deployment(server: Server) -> Any:
    found = server.ask(lambda client: client.read_deployments())
    return next((one for one in found if one.name == "nightly"), None)


if __name__ == "__main__":
    sys.exit(main())
