"""`relex prune`: gather, plan, show; with `yes` let go of it.

The order of letting go makes a kill anywhere harmless: the notes on versions first, so that nothing is gone without
one; then the remote, MLflow and folders, while the nights that tell what they hold are still known; then the nights
themselves; last the cache's objects, which nothing names any more. The same call again finishes what was begun.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from relex.core.atomic import read_json, remove_leftovers
from relex.core.night_lock import night_lock
from relex.core.sizes import show_bytes
from relex.core.workspace import EVALUATION_METRICS, PREFECT, STATE
from relex.params.load import Params
from relex.params.retention import Retention
from relex.registry.store import connection as registry
from relex.registry.store import needs, places, runs_kept
from relex.retention import folders, objects, plan, preview, versions
from relex.retention.facts import Facts
from relex.retention.folders import STUDY
from relex.retention.plan import Plan

if TYPE_CHECKING:
    from dvc.repo import Repo

    from relex.registry.store.connection import Connection


def prune(params: Params, *, yes: bool, in_night: bool = False) -> str:
    """What goes and what stays by the section `retention`, and with `yes` that it went.

    in_night: a night that holds the lock asks; it leaves study folders alone, for nobody saw them named. InputError
    where DVC or the registry cannot say what is needed: then nothing goes. Busy while a night runs.
    """
    limits = params.retention
    with (
        contextlib.nullcontext() if in_night else night_lock(),
        objects.locked_project() as project,
        versions.connected(params) as connection,
    ):
        remote = objects.remote(project)
        facts = _gather(params, project, connection, remote)
        made = plan.make(facts, limits, studies=not in_night)
        shared = str(project.cache.local.path) if objects.cache_is_shared(project) else ""
        said = f"{len(made.remote)} objects leave it too, as far as it has them" if made.remote else ""
        page = preview.text(made, facts, limits, remote=said, shared=shared)
        if not yes:
            return page if made.empty else f"{page}\n\nA preview. `relex prune --yes` does it."
        before = made.freed + made.stays
        _carry_out(made, limits, project, connection, remote)
    return f"{page}\n\npruned: {show_bytes(made.freed)} of {show_bytes(before)}, {show_bytes(made.stays)} stay"


def _gather(params: Params, project: Repo, connection: Connection | None, remote: Any | None) -> Facts:
    nights, others = objects.nights(project)
    known, runs = versions.gather(connection, lambda md5: objects.expand(project, md5, remote))
    return Facts(
        nights=nights,
        versions=known,
        cache=objects.cached(project),
        standing=objects.standing(project),
        named=objects.named(project, others),
        standing_models=_standing_models(),
        runs=runs,
        folders=folders.gather(),
        fixed=_fixed(params, sum(run.size for run in runs)),
        remote=remote is not None,
    )


def _carry_out(made: Plan, limits: Retention, project: Repo, connection: Connection | None, remote: Any | None) -> None:
    for place in (STATE, STUDY):
        remove_leftovers(place, below=place == STATE)  # of a removal that was killed
    if connection is not None:
        for version in made.lost:
            needs.give_up(connection, version.name, version.number, f"retention.promoted: {limits.promoted}")
    if remote is not None:
        objects.collect_remote(remote, made.remote)
    if connection is not None:
        for run in made.runs:
            runs_kept.let_go(connection, run.id, run.models)
    for folder in made.folders:
        folders.remove(folder)
    objects.forget(project, made.nights)
    objects.collect(project, made.objects)


def _standing_models() -> frozenset[str]:
    if not EVALUATION_METRICS.is_file():
        return frozenset()
    return frozenset(str(model["model_sha256"]) for model in read_json(EVALUATION_METRICS)["models"].values())


def _fixed(params: Params, counted: int) -> dict[str, int]:
    """Bytes on this machine that pruning does not touch. counted: those of runs' artifacts, which are told apart."""
    database = registry.database_file(params.registry.tracking_uri)
    local = (
        {}
        if database is None
        else {
            "registered versions in mlartifacts": max(0, folders.bytes_of(places.ARTIFACTS) - counted),
            "MLflow's database": folders.bytes_of(database),
        }
    )
    return {**local, "Prefect's runs (the night itself forgets old ones)": folders.bytes_of(PREFECT)}
