"""The registry over HTTP: a real MLflow server process, its database and the artifact root that it proxies."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from mlflow.tracking.request_header.abstract_request_header_provider import RequestHeaderProvider
from mlflow.tracking.request_header.registry import _request_header_provider_registry as header_providers

from relex.core.errors import InputError
from relex.params.load import Params
from relex.registry import live as registry_live
from relex.registry.fetch import fetch
from relex.registry.history import history
from relex.registry.lineage import lineage
from relex.registry.promotion import promote, rollback
from relex.registry.register import register
from relex.registry.store import connection as registry_client
from relex.registry.store import moves as registry_moves
from relex.registry.store import versions as registry_versions
from relex.stages.train import step_stream
from tests.builders.gate import gate
from tests.builders.nights import change_params, finish_night, meet_champion, record
from tests.registry.test_moves import NEW, OLD, PROCESSES, distinct, install, killed_promotion, shown

pytestmark = pytest.mark.real


class Server:
    """`mlflow server` on a free port of this machine."""

    def __init__(self, folder: Path):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.folder = folder
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)),
            *("--backend-store-uri", f"sqlite:///{self.folder}/server.db", "--workers", "1"),
            *("--artifacts-destination", str(self.folder / "artifacts"), "--serve-artifacts"),
        ]
        # Jobs would take four processes more, for what nobody asks of a registry.
        variables = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with open(self.folder / "server.log", "ab") as log:
            self.process = subprocess.Popen(
                command, env=variables, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=2):
                    return
            except OSError:
                assert self.process.poll() is None, (self.folder / "server.log").read_text()[-3000:]
                assert time.monotonic() < deadline, "the MLflow server does not answer"
                time.sleep(0.2)

    def stop(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(30)
            self.process = None


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.stop()


def shared(project: Path, server: Server, model: str) -> Params:
    """Parameters of this test's own model and experiment on the server."""
    return change_params(project, tracking_uri=server.uri, model=model, experiment=f"{model} nights")


def test_two_nights_and_a_rollback_over_http_leave_the_right_aliases_and_a_loadable_champion(
    project: Path, server: Server
) -> None:
    params = shared(project, server, "http")
    first = finish_night(project, 1, champion=None)
    register(params)
    promote(params)
    assert meet_champion(params).model_sha256 == first
    finish_night(project, 2, champion=first)
    assert "version 2" in register(params)
    assert "already registered" in register(params)
    assert promote(params) == "promoted: http version 2 is the champion, after version 1"
    assert rollback(params, reason="complaints") == ("rolled back: http version 1 is the champion, after version 2")
    aliases = registry_versions.aliases(registry_client.connect(params))
    assert aliases == {"champion": "1", "previous": None, "challenger": None}
    assert [line.split(" by ")[0][22:] for line in history(params).splitlines()] == [
        "promote: none -> 1",
        "promote: 1 -> 2",
        "rollback: 2 -> 1",
    ]
    pipeline = mlflow.transformers.load_model("models:/http@champion")
    assert pipeline("312=", max_new_tokens=2)[0]["generated_text"].startswith("312=")
    assert "verified" in lineage(params, "http@champion")
    assert not Path("mlartifacts").exists()
    assert list(server.folder.glob("artifacts/*/models/*/artifacts/model/model.safetensors"))


def test_files_deleted_from_the_proxied_store_are_noticed_before_an_alias_moves(project: Path, server: Server) -> None:
    params = shared(project, server, "gone")
    finish_night(project, 1, champion=None)
    before = set(server.folder.glob("artifacts/*/models/*"))
    register(params)
    (model,) = set(server.folder.glob("artifacts/*/models/*")) - before
    (model / "artifacts/model/model.safetensors").unlink()
    with pytest.raises(InputError, match="files are gone"):
        promote(params)
    assert registry_versions.aliases(registry_client.connect(params))["champion"] is None
    shutil.rmtree(model)
    with pytest.raises(InputError, match="files are gone"):
        fetch(params, "gone/1", project / "got")


def test_the_server_refuses_artifact_names_that_leave_the_folder(project: Path, server: Server) -> None:
    params = shared(project, server, "escape")
    finish_night(project, 1, champion=None)
    register(params)
    client = registry_client.connect(params).client
    run = client.get_model_version("escape", "1").run_id
    for name in ("../../../outside.txt", "/etc/passwd", "a/../../outside.txt"):
        with pytest.raises(InputError), registry_client.registry_errors(params):
            client.download_artifacts(run, name, str(project))


def test_a_server_that_dies_during_registration_is_completed_by_the_next_register(
    project: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = shared(project, server, "dies")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    weights = finish_night(project, 1, champion=None)
    real = mlflow.MlflowClient.log_model_artifacts

    def dying(self: mlflow.MlflowClient, *args: str) -> None:
        server.stop()
        real(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "log_model_artifacts", dying)
        with pytest.raises(InputError, match="cannot be reached"):
            register(params)
    server.start()
    assert "registered: dies version 1" in register(params)
    connection = registry_client.connect(params)
    assert [v.number for v in registry_versions.by_model(connection, weights)] == ["1"]
    experiment = connection.client.get_experiment_by_name("dies nights").experiment_id
    assert len(connection.client.search_logged_models([experiment])) == 1
    assert len(connection.client.search_runs([experiment], "tags.`relex.kind` = 'night'")) == 1


SECRETS = {name: f"plant-{name}-71f0" for name in ("password", "token", "header", "variable", "hub", "storage", "git")}


class Header(RequestHeaderProvider):
    """A header that a company's plug-in for MLflow adds to every request."""

    def in_context(self) -> bool:
        return True

    def request_headers(self) -> dict[str, str]:
        return {"X-Gate": SECRETS["header"]}


@pytest.mark.parametrize("shown_as", ["uri", "variables"])
def test_a_night_behind_a_gate_leaves_no_secret_on_the_server_in_the_project_or_in_a_message(
    project: Path,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    shown_as: str,
) -> None:
    monkeypatch.setattr(header_providers, "_registry", [*header_providers._registry, Header()])
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for name, key in (("FOO_API_KEY", "variable"), ("HF_TOKEN", "hub"), ("AWS_SECRET_ACCESS_KEY", "storage")):
        monkeypatch.setenv(name, SECRETS[key])
    if shown_as == "variables":
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "night")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", SECRETS["password"])
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", SECRETS["token"])  # the password goes before it
    subprocess.run(["git", "init", "-q"], check=True)
    remote = f"https://night:{SECRETS['git']}@git.example/x.git"
    subprocess.run(["git", "remote", "add", "origin", remote], check=True)
    user = f"night:{SECRETS['password']}@" if shown_as == "uri" else ""
    model = f"gated-{shown_as}"
    with gate(server.uri, "night", SECRETS["password"], ("X-Gate", SECRETS["header"])) as address:

        def named(who: str) -> Params:
            return change_params(project, tracking_uri=f"http://{who}{address}", model=model, experiment=model)

        params = named(user)
        step_stream.StepStream().append({"step": 1, "reward": 0.1})
        stop = threading.Event()
        stop.set()
        assert registry_live.follow(params, stop) == "live: 1 steps sent"
        finish_night(project, 1, champion=None)
        Path("report.html").write_text(f"<p>{SECRETS['variable']} at {remote}</p>")
        record(project)
        assert "version 1" in register(params)
        said = [promote(params), lineage(params, f"{model}@champion"), fetch(params, f"{model}/1", project / "got")]
        finish_night(project, 2, champion=None)
        register(params)
        promote(params, "2", force=True, reason=f"because of {SECRETS['hub']} at {remote}")
        said += [rollback(params, reason=SECRETS["storage"]), history(params)]
        for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        with pytest.raises(InputError, match="refused") as caught:
            promote(named("night:plant-wrong-71f0@"))
        said.append(str(caught.value))
    with pytest.raises(InputError, match="cannot be reached") as caught:
        promote(params)
    said.append(str(caught.value))
    said.extend(capfd.readouterr())
    assert "plant-" not in "".join(said)
    Path("params.yaml").unlink()  # what the user wrote stays what it is
    shutil.rmtree(".git")
    for name in ("metrics/decision.json", "report.html"):  # and these were given
        Path(name).unlink()
    left = [path for root in (server.folder, project) for path in root.rglob("*") if path.is_file()]
    assert any(path.name == "params.yaml" for path in left)
    assert [path for path in left if b"plant-" in path.read_bytes()] == []


def test_training_steps_and_system_metrics_are_in_mlflow_while_the_training_runs_and_become_the_nights(
    project: Path, server: Server
) -> None:
    params = shared(project, server, "live")
    follower = subprocess.Popen(
        [sys.executable, "-m", "relex.cli", "live"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    client = registry_client.connect(params).client
    try:
        stream = step_stream.StepStream()
        for step in (1, 2):
            stream.append({"step": step, "reward": step / 10})
        deadline = time.monotonic() + 300
        steps: list[int] = []
        while steps != [1, 2] and time.monotonic() < deadline:
            time.sleep(0.5)
            if registry_live.PENDING.is_file():
                run = json.loads(registry_live.PENDING.read_text())["train"]
                steps = [metric.step for metric in client.get_metric_history(run, "train/reward")]
        assert steps == [1, 2]
        assert client.get_run(run).info.status == "RUNNING"
        measured: list[str] = []
        while not measured and time.monotonic() < deadline:
            time.sleep(0.5)
            measured = [name for name in client.get_run(run).data.metrics if name.startswith("system/cpu")]
        assert measured
        step_stream.StepStream(after=2).append({"step": 3, "reward": 0.3})
    finally:
        follower.terminate()
        said, _ = follower.communicate(timeout=60)
    assert "live: 3 steps sent" in said
    finish_night(project, 1, champion=None)
    night = register(params).split("run ")[1]
    train = client.get_run(run)
    assert train.data.tags["mlflow.parentRunId"] == night
    assert train.info.status == "FINISHED"
    assert [metric.step for metric in client.get_metric_history(run, "train/reward")] == [1, 2, 3]
    assert client.get_run(night).data.tags["decision"] == "promote-candidate"
    assert not registry_live.PENDING.exists()


@pytest.mark.slow
def test_killed_between_any_two_registry_calls_over_http_a_promotion_is_whole_or_undone(
    template: Path, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_night, second_night = tmp_path / "first", tmp_path / "second"
    for folder in (first_night, second_night):
        shutil.copytree(template, folder)
    monkeypatch.chdir(first_night)
    first = finish_night(first_night, 1, champion=None)
    monkeypatch.chdir(second_night)
    finish_night(second_night, 2, champion=first)

    def ready(model: str) -> Params:
        for folder in (first_night, second_night):
            params = change_params(folder, tracking_uri=server.uri, model=model, experiment="killed nights")
            monkeypatch.chdir(folder)
            register(params)
            if folder == first_night:
                promote(params)
        return params

    params = ready("counted")
    with pytest.MonkeyPatch.context() as counting:
        made = install(counting, -1, lambda: None)
        promote(params)
    outcomes = set()
    for at in distinct(made[0].names):
        params = ready(f"killed-{at}")
        process = PROCESSES.Process(target=killed_promotion, args=(second_night, at))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        registry_moves.settle(registry_client.connect(params))
        settled = shown(params)
        assert settled in (OLD, NEW), f"torn when killed before call {at}: {settled}"
        outcomes.add(settled == NEW)
        promote(params)
        assert shown(params) == NEW
    assert outcomes == {True, False}
