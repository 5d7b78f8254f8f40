"""Alias moves as transactions: killed or failing at every point, and two at once. Real processes, real SIGKILL."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

from relex.params.load import Params, load
from relex.registry import history as registry_history
from relex.registry.promotion import promote
from relex.registry.register import register
from relex.registry.store import connection as registry_client
from relex.registry.store import log as registry_log
from relex.registry.store import moves as registry_moves
from relex.registry.store import versions as registry_versions
from relex.registry.store.connection import Connection
from tests.builders.nights import change_params, finish_night

pytestmark = pytest.mark.real

# A server process that has MLflow loaded already, of which each killed process is a quick fork.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    [
        "mlflow.store.tracking.sqlalchemy_store",
        "mlflow.store.model_registry.sqlalchemy_store",
        "pytest",
        "relex.registry.promotion",
        "relex.registry.register",
        "relex.stages.extrapolate.stage",
        "transformers.models.llama.modeling_llama",
    ]
)


class Failing:
    """An MlflowClient that does `action` instead of its `at`-th call; notes their names."""

    def __init__(self, client: Any, at: int, action: Callable[[], None]):
        self.client, self.at, self.action = client, at, action
        self.names: list[str] = []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.client, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            self.names.append(name)
            if len(self.names) == self.at:
                self.action()
            return method(*args, **kwargs)

        return call


def install(patch: pytest.MonkeyPatch, at: int, action: Callable[[], None]) -> list[Failing]:
    """Make every connection from now on a Failing one; the list receives them."""
    real, made = registry_client.connect, []

    def connect(params: Params, *, make: bool = True) -> Connection:
        connection = real(params, make=make)
        made.append(Failing(connection.client, at, action))
        return dataclasses.replace(connection, client=made[-1])

    for module in ("promotion", "register"):
        patch.setattr(f"relex.registry.{module}.connect", connect)
    return made


def killed_promotion(folder: Path, at: int) -> None:
    """In a process of its own: promote, and die by SIGKILL before the `at`-th registry call."""
    os.chdir(folder)
    with pytest.MonkeyPatch.context() as patch:
        install(patch, at, lambda: os.kill(os.getpid(), signal.SIGKILL))
        promote(load(Path("params.yaml")))


def racing(folder: Path, what: str, start: Barrier, said: Any) -> None:
    """In a process of its own: do `what` at the same moment as others, and report what was said."""
    os.chdir(folder)
    params = load(Path("params.yaml"))
    with registry_client.registry_errors(params):
        registry_client.connect(params).client.search_experiments()  # so that only the work itself is raced
    start.wait()
    try:
        said.put({"register": register, "promote": promote}[what](params))
    except Exception as error:
        said.put(f"{type(error).__name__}: {error}")


@dataclasses.dataclass(frozen=True)
class Shown:
    """All that a move changes: aliases, status tags, and the champions of the history."""

    aliases: dict[str, str | None]
    statuses: dict[str, str | None]
    champions: list[str | None]


def shown(params: Params) -> Shown:
    connection = registry_client.connect(params)
    return Shown(
        registry_versions.aliases(connection),
        {version.number: version.tags.get("status") for version in registry_versions.versions(connection)},
        [slot.move.after["champion"] for slot in registry_log.read(connection) if slot.outcome == "done"],
    )


@pytest.fixture(scope="module")
def ready(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 1 is champion, version 2 is registered and its decision says promote."""
    folder = tmp_path_factory.mktemp("ready") / "project"
    shutil.copytree(template, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        params = change_params(folder)
        first = finish_night(folder, 1, champion=None)
        register(params)
        promote(params)
        finish_night(folder, 2, champion=first)
        register(params)
    return folder


def copy_of(ready: Path, folder: Path) -> Path:
    """Another registry in the same state. The artifacts stay where they are: nobody writes them here."""
    folder.mkdir()
    for name in ("mlflow.db", "params.yaml", "history.jsonl", "dvc.lock", "report.html"):
        shutil.copy(ready / name, folder / name)
    for name in ("metrics", "evaluation"):
        shutil.copytree(ready / name, folder / name)
    (folder / "mlartifacts").symlink_to(ready / "mlartifacts")
    return folder


OLD = Shown({"champion": "1", "previous": None, "challenger": "2"}, {"1": "champion", "2": "challenger"}, ["1"])
NEW = Shown({"champion": "2", "previous": "1", "challenger": None}, {"1": "previous", "2": "champion"}, ["1", "2"])


def calls_of_a_promotion(ready: Path, folder: Path, patch: pytest.MonkeyPatch) -> list[str]:
    """The names of the registry calls that a promotion makes, in their order."""
    patch.chdir(copy_of(ready, folder))
    with pytest.MonkeyPatch.context() as counting:
        made = install(counting, -1, lambda: None)
        promote(load(Path("params.yaml")))
    return made[0].names


def distinct(names: list[str]) -> list[int]:
    """The calls to be killed before: each that writes, and the one after it. Between reads nothing changes."""
    writes = [
        at
        for at, name in enumerate(names, start=1)
        if name.startswith(("set_", "delete_", "log_", "create_", "update_"))
    ]
    return sorted({*writes, *(at + 1 for at in writes if at < len(names))})


def test_killed_between_any_two_registry_calls_a_promotion_is_whole_or_undone_and_can_be_repeated(
    ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = calls_of_a_promotion(ready, tmp_path / "count", monkeypatch)
    params = load(ready / "params.yaml")
    assert shown(params) == NEW
    outcomes = []
    for at in distinct(names):
        folder = copy_of(ready, tmp_path / f"kill-{at}")
        process = PROCESSES.Process(target=killed_promotion, args=(folder, at))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        monkeypatch.chdir(folder)
        registry_moves.settle(registry_client.connect(params))
        settled = shown(params)
        assert settled in (OLD, NEW), f"torn when killed before call {at}: {settled}"
        outcomes.append(settled == NEW)
        promote(params)
        assert shown(params) == NEW
        champions = [line["to"] for line in registry_history.read()]
        assert champions == ["1", "2"], f"history.jsonl when killed before call {at}"
    assert True in outcomes
    assert False in outcomes


def test_a_promotion_that_fails_at_any_of_its_registry_calls_is_undone_at_once(
    ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise ConnectionError("the registry went away")

    names = calls_of_a_promotion(ready, tmp_path / "count", monkeypatch)
    params = load(ready / "params.yaml")
    for at in range(1, len(names) + 1):
        monkeypatch.chdir(copy_of(ready, tmp_path / f"fail-{at}"))
        with pytest.MonkeyPatch.context() as failing:
            install(failing, at, fail)
            with pytest.raises(registry_client.RegistryUnreachable):
                promote(params)
        found = shown(params)  # as any reader finds it: nothing settles it first
        assert found in (OLD, NEW), f"torn when call {at} failed: {found}"


def test_a_registration_that_breaks_off_at_any_kind_of_call_is_completed_by_the_next_without_doubling_anything(
    ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_off() -> None:
        raise ConnectionError("the registry went away")

    work = tmp_path / "work"
    shutil.copytree(ready, work)
    monkeypatch.chdir(work)
    params = load(Path("params.yaml"))
    weights = finish_night(work, 50, champion=None)
    shutil.copy("mlflow.db", "before.db")
    with pytest.MonkeyPatch.context() as counting:
        made = install(counting, -1, lambda: None)
        register(params)
    writes = [at for at, name in enumerate(made[0].names, start=1) if not name.startswith(("get_", "search_"))]
    names = {at: made[0].names[at - 1] for at in writes}
    # Of a call that is repeated for every metric or child run, the first and the last.
    ends = {f(at for at in writes if names[at] == name) for name in names.values() for f in (min, max)}
    for at in sorted(ends):
        folder = tmp_path / f"break-{at}"
        shutil.copytree(work, folder, ignore=shutil.ignore_patterns("mlartifacts", ".relex"))
        monkeypatch.chdir(folder)
        shutil.copy("before.db", "mlflow.db")
        with pytest.MonkeyPatch.context() as breaking:
            install(breaking, at, break_off)
            with pytest.raises(registry_client.RegistryUnreachable):
                register(params)
        register(params)
        connection = registry_client.connect(params)
        assert len(registry_versions.by_model(connection, weights)) == 1, names[at]
        assert registry_versions.aliases(connection)["challenger"] == "3", names[at]
        experiment = connection.experiment_id("nightly")
        models = connection.client.search_logged_models([experiment], f"tags.model_sha256 = '{weights}'")
        assert [str(model.status) for model in models] == ["READY"], names[at]
        runs = connection.client.search_runs([experiment], f"tags.`relex.night` = '{_night_of(connection, weights)}'")
        assert len(runs) == 5, names[at]  # night, train, and three that were evaluated
        assert {run.info.status for run in runs} == {"FINISHED"}, names[at]


def test_of_two_nights_that_promote_together_one_wins_and_the_other_says_so(
    ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = load(ready / "params.yaml")
    first = registry_versions.model_of(_champion(ready, params, monkeypatch))
    mine, theirs = copy_of(ready, tmp_path / "mine"), tmp_path / "theirs"
    shutil.copytree(ready, theirs)
    shared = change_params(mine, tracking_uri=f"sqlite:///{mine}/mlflow.db")
    change_params(theirs, tracking_uri=f"sqlite:///{mine}/mlflow.db")
    monkeypatch.chdir(theirs)
    finish_night(theirs, 30, champion=first)
    register(shared)  # version 3
    for round_ in range(4):
        database = tmp_path / f"round-{round_}.db"
        shutil.copy(mine / "mlflow.db", database)
        folders = [tmp_path / f"{name}-{round_}" for name in ("mine", "theirs")]
        for source, folder in zip((mine, theirs), folders, strict=True):
            shutil.copytree(source, folder, ignore=shutil.ignore_patterns("mlartifacts", "*.db"))
            (folder / "mlartifacts").symlink_to(theirs / "mlartifacts")  # where version 3 was registered
            contested = change_params(folder, tracking_uri=f"sqlite:///{database}")
        said = race([(folder, "promote") for folder in folders])
        won = [line for line in said if line.startswith("promoted: ")]
        lost = [line for line in said if line.startswith("not promoted: ")]
        assert len(won) == len(lost) == 1, said
        assert "another" in lost[0]
        found = shown(contested)
        assert found.champions == ["1", found.aliases["champion"]]
        assert found.aliases["previous"] == "1"
        assert f"version {found.aliases['champion']} is the champion" in won[0]


def test_of_two_nights_that_register_the_same_weights_together_one_version_stays(
    ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "same"
    shutil.copytree(ready, folder)
    params = change_params(folder, tracking_uri=f"sqlite:///{folder}/mlflow.db")
    monkeypatch.chdir(folder)
    weights = finish_night(folder, 40, champion=None)
    race([(folder, "register"), (folder, "register")])
    assert len(registry_versions.by_model(registry_client.connect(params), weights)) == 1


def test_a_move_of_another_living_process_is_waited_for_and_then_reported(
    ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(copy_of(ready, tmp_path / "busy"))
    connection = registry_client.connect(load(Path("params.yaml")))
    now = registry_versions.aliases(connection)
    move = registry_log.new_move("sort-digits", "promote", now, {**now, "champion": "2"})
    parent = {**move.owner, "pid": os.getppid(), "started": registry_log._started(os.getppid())}
    registry_log.begin(connection, 2, dataclasses.replace(move, owner=parent))
    with pytest.raises(registry_moves.Busy, match="another process is moving"):
        registry_moves.settle(connection, patience=0.3)


def race(work: list[tuple[Path, str]]) -> list[str]:
    start, said = PROCESSES.Barrier(len(work)), PROCESSES.Queue()
    processes = [PROCESSES.Process(target=racing, args=(folder, what, start, said)) for folder, what in work]
    for process in processes:
        process.start()
    lines = [said.get(timeout=120) for _ in work]
    for process in processes:
        process.join()
    return lines


def _champion(folder: Path, params: Params, patch: pytest.MonkeyPatch) -> registry_versions.Version | None:
    patch.chdir(folder)
    return registry_versions.by_alias(registry_client.connect(params), "champion")


def _night_of(connection: Connection, weights: str) -> str:
    (version,) = registry_versions.by_model(connection, weights)
    return connection.client.get_run(version.run_id).data.tags["relex.night"]
