"""What the runs of old nights hold, and letting go of it.

A run keeps its parameters, its decision and its final figures; its files (report, metrics, plots) go, and with them the
runs below it (the training step by step, one for every model evaluated) and models that never became a version.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from relex.core.atomic import read_json
from relex.registry.store.runs import COMPLETE_TAG, HOP_TAG, KIND_TAG, PENDING
from relex.registry.store.versions import WEIGHTS_TAG, Version

if TYPE_CHECKING:
    from mlflow.entities import Run

    from relex.registry.store.connection import Connection

PRUNED_TAG = "relex.pruned"
_PAGE = 1000


@dataclass(frozen=True)
class NightRun:
    """A night's run that was not pruned yet. size: bytes of its files and of `models`, ids of models without a version.

    needed: a version was registered from it, or an unfinished night is its. started: seconds since 1970.
    night: what the runs of one night share, "" for one of an earlier release.
    """

    id: str
    name: str
    started: float
    complete: bool
    needed: bool
    size: int
    models: tuple[str, ...]
    night: str


def gather(connection: Connection, known: list[Version]) -> list[NightRun]:
    """The nights' runs of this experiment, the newest first. known: every version of the registry."""
    found = connection.client.get_experiment_by_name(connection.experiment)
    if found is None:
        return []
    runs_of_versions = {version.run_id for version in known}
    weights = {version.tags.get(WEIGHTS_TAG) for version in known}
    pending = _pending()
    loose: dict[str, list[Any]] = {}
    for model in _pages(lambda token: connection.client.search_logged_models([found.experiment_id], page_token=token)):
        if model.tags.get(WEIGHTS_TAG) and model.tags[WEIGHTS_TAG] not in weights:
            loose.setdefault(model.source_run_id, []).append(model)
    nights = []
    for run in _nights(connection, found.experiment_id):
        models = loose.get(run.info.run_id, [])
        held = run.info.run_id in runs_of_versions or run.info.run_id == pending
        size = 0 if held else sum(_size(uri) for uri in (run.info.artifact_uri, *(m.artifact_location for m in models)))
        nights.append(
            NightRun(
                id=run.info.run_id,
                name=run.info.run_name or run.info.run_id,
                started=run.info.start_time / 1000,
                complete=COMPLETE_TAG in run.data.tags,
                needed=held,
                size=size,
                models=tuple(model.model_id for model in models),
                night=run.data.tags.get(HOP_TAG, "").partition("-hop-")[0],
            )
        )
    return nights


def let_go(connection: Connection, run_id: str, models: tuple[str, ...]) -> None:
    """Remove a run's files, the runs below it and its models; its tag comes last, so that a killed call is repeated."""
    run = connection.client.get_run(run_id)
    for child in _below(connection, run):
        if child.info.lifecycle_stage == "active":
            connection.client.delete_run(child.info.run_id)
        _remove_for_good(connection, child.info.run_id)
    for model_id in models:
        _repository(connection.client.get_logged_model(model_id).artifact_location).delete_artifacts()
        connection.client.delete_logged_model(model_id)
    _repository(run.info.artifact_uri).delete_artifacts()
    connection.client.set_tag(run_id, PRUNED_TAG, "true")


def _remove_for_good(connection: Connection, run_id: str) -> None:
    """What `mlflow gc` does to a deleted run, where the database is ours to do it in; a server's operator runs that."""
    store = connection.client._tracking_client.store
    if connection.is_database and hasattr(store, "_hard_delete_run"):
        store._hard_delete_run(run_id)


def _nights(connection: Connection, experiment: str) -> Iterator[Run]:
    query = f"tags.`{KIND_TAG}` = 'night'"
    order = ["attributes.start_time DESC"]
    pages = _pages(
        lambda token: connection.client.search_runs(
            [experiment], query, max_results=_PAGE, order_by=order, page_token=token
        )
    )
    return (run for run in pages if PRUNED_TAG not in run.data.tags)


def _below(connection: Connection, run: Run) -> list[Run]:
    """Its children, also those that a killed call has deleted already, but not for good."""
    from mlflow.entities import ViewType

    query = f"tags.`mlflow.parentRunId` = '{run.info.run_id}'"
    return list(
        _pages(
            lambda token: connection.client.search_runs(
                [run.info.experiment_id], query, ViewType.ALL, max_results=_PAGE, page_token=token
            )
        )
    )


def _pages(ask: Any) -> Iterator[Any]:
    token: str | None = None
    while True:
        page = ask(token)
        yield from page
        token = page.token
        if not token:
            return


def _pending() -> str | None:
    """The run of the night whose training is followed, or was when it was killed."""
    return str(read_json(PENDING).get("night")) if PENDING.is_file() else None


def _size(uri: str) -> int:
    """Bytes below an artifact URI; 0 for one that is not there (any more)."""
    return _below_path(_repository(uri), None)


def _below_path(repository: Any, path: str | None) -> int:
    found = repository.list_artifacts(path)
    return sum(_below_path(repository, entry.path) if entry.is_dir else entry.file_size or 0 for entry in found)


def _repository(uri: str) -> Any:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    return get_artifact_repository(uri)
