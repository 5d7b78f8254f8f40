"""A night on a schedule, on a real Prefect server: fired, completed, cancelled; by serving and by a work pool."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.builders.prefect_server import Server, prefect_server, serve
from tests.builders.project import SMALL, Project, alive, family, runs, wait_for

pytestmark = [pytest.mark.real, pytest.mark.slow]


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    with prefect_server(tmp_path_factory.mktemp("prefect")) as server:
        yield server


def night_of(project: Project) -> int:
    """Which night hop.json names."""
    return int(json.loads((project.folder / "hop.json").read_text())["night"])


def ended_nights(project: Project) -> int:
    lines = (project.folder / "ledger.jsonl").read_text().splitlines()
    return sum(json.loads(line)["kind"] == "night" for line in lines)


@pytest.fixture(scope="module")
def project(tmp_path_factory, server) -> Project:
    quick = {"evaluate.backend": "transformers"}  # started in a tenth of vLLM's time
    project = Project.make(tmp_path_factory.mktemp("scheduled") / "project", {**SMALL, **quick})
    project.environment["PREFECT_API_URL"] = server.url
    project.environment["PREFECT_HOME"] = str(project.folder / ".prefect")
    return project


@pytest.mark.timeout(1200)
def test_a_served_schedule_fires_and_the_night_completes(server, project, tmp_path):
    with open(tmp_path / "log", "wb") as log:
        process = serve(project, "* * * * *", log)
    try:
        assert wait_for(lambda: "COMPLETED" in server.states(), 800), (tmp_path / "log").read_text()[-4000:]
        runs_ = server.ask(lambda client: client.read_flow_runs())
        completed = next(run for run in runs_ if run.state_type.value == "COMPLETED")
        assert completed.auto_scheduled
        assert (project.folder / "report.html").is_file()
    finally:
        processes = family(process.pid)
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert wait_for(lambda: not any(alive(p) for p in processes), 30)


def test_a_deployment_to_a_process_work_pool_runs_and_a_cancelled_night_leaves_no_process(server, project, tmp_path):
    for command in (
        ["prefect", "work-pool", "create", "nightly", "--type", "process"],
        ["prefect", "--no-prompt", "deploy", "--prefect-file", "infra/prefect.yaml", "--all"],
    ):
        done = project.run(*command)
        assert done.returncode == 0, done.stdout
    deployment = server.ask(lambda client: client.read_deployment_by_name("nightly/nightly"))
    assert [str(schedule.schedule.cron) for schedule in deployment.schedules] == ["0 1 * * *"]
    assert deployment.global_concurrency_limit.limit == 1
    # Something new to train, so that there is a long stage to cancel.
    project.change({"train.budget.steps": 2000, "train.seed": 7})
    with open(tmp_path / "log", "wb") as log:
        worker = subprocess.Popen(
            ["prefect", "worker", "start", "--pool", "nightly"],
            cwd=tmp_path,
            env=project.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        run = server.ask(lambda client: client.create_flow_run_from_deployment(deployment.id))
        assert wait_for(lambda: runs(family(worker.pid), "relex train"), 200), (tmp_path / "log").read_text()[-4000:]
        # Not by "relex" or "flows" alone: a checkout's folder may be called so, and then the worker is one of them.
        stage = [p for p in family(worker.pid) if runs([p], "flows/supervise.py") or runs([p], "bin/relex train")]
        assert len(stage) >= 2
        assert night_of(project) == 1 + ended_nights(project) >= 2  # another firing, another night
        # One during a night is skipped, as the deployment says, and the night goes on.
        during = server.ask(lambda client: client.create_flow_run_from_deployment(deployment.id))
        assert wait_for(lambda: server.state_of(during.id) == "CANCELLED", 120), (tmp_path / "log").read_text()[-4000:]
        assert any(alive(process) for process in stage)
        assert project.run("prefect", "flow-run", "cancel", str(run.id)).returncode == 0
        assert wait_for(lambda: not any(alive(p) for p in stage), 60), (tmp_path / "log").read_text()[-4000:]
        assert wait_for(lambda: server.state_of(run.id) == "CANCELLED", 60)
        assert wait_for(lambda: "Cancelled flow run" in (tmp_path / "log").read_text(), 60)
    finally:
        processes = family(worker.pid)
        worker.terminate()
        # A worker that is told to end while it still settles a cancellation may hang: Prefect's, not ours. The night's
        # own processes are gone by then.
        if not wait_for(lambda: worker.poll() is not None, 60):
            worker.kill()
        worker.wait(60)
    assert wait_for(lambda: not any(alive(p) for p in processes), 30)


def test_a_night_started_by_hand_can_be_cancelled_from_the_page(server, project, tmp_path):
    project.change({"train.budget.steps": 2000, "train.seed": 8})  # a long stage to cancel
    # The night that the test before left cancelled; alone, one that is begun.
    assert project.run(sys.executable, "-m", "relex.cli", "hop", "--begin").returncode == 0
    unfinished = (project.folder / "hop.json").read_bytes()
    before = {run.id for run in server.ask(lambda client: client.read_flow_runs())}
    with open(tmp_path / "log", "wb") as log:
        night = subprocess.Popen(
            [sys.executable, "-m", "flows.nightly"],
            cwd=project.folder,
            env=project.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    assert wait_for(lambda: runs(family(night.pid), "bin/relex train"), 200), (tmp_path / "log").read_text()[-4000:]
    assert (project.folder / "hop.json").read_bytes() == unfinished  # it goes on with that night
    assert "unfinished: " in (tmp_path / "log").read_text()
    processes = family(night.pid)
    (run,) = [run for run in server.ask(lambda client: client.read_flow_runs()) if run.id not in before]
    assert project.run("prefect", "flow-run", "cancel", str(run.id)).returncode == 0  # what the page does
    assert night.wait(60) == 1
    said = (tmp_path / "log").read_text()
    assert "relex: the night was cancelled" in said, said[-4000:]
    assert "Traceback" not in said
    assert not any(alive(process) for process in processes)
    assert server.ask(lambda client: client.read_flow_run(run.id)).state_type.value == "CANCELLED"
