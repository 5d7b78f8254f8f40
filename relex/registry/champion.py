"""The champion that a night competes with: champion.json and its weights, resolved once at the night's start."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from relex.checkpoints.digest import model_sha256
from relex.core import workspace
from relex.core.atomic import read_json, write_json
from relex.core.errors import InputError
from relex.params.load import Params
from relex.registry.fetch import fetch_verified, identified
from relex.registry.store import moves, night, versions
from relex.registry.store.connection import RegistryUnreachable, connect, exists, registry_errors
from relex.registry.store.versions import CHAMPION, Version

if TYPE_CHECKING:
    from relex.registry.store.connection import Connection


def resolve_champion(params: Params, *, unchanged: bool = False) -> str:
    """Write champion.json, {"name", "version", "model_sha256"}, and fetch the champion's weights; what it is.

    unchanged: the caller saw that every stage is up to date. Then a champion that the standing decision itself made
    does not replace the one which that decision competed with: a night without changes has nothing to do.
    """
    name = params.registry.model
    if not exists(params):
        return _compete_with(name, None, None, "no registry yet")
    try:
        with registry_errors(params):
            connection = connect(params)
            moves.settle(connection)
            version = versions.by_alias(connection, CHAMPION)
            if version is None:
                return _compete_with(name, None, None, "none yet")
            version = identified(connection, version)
            model = version.model_sha256
            if unchanged and _made_by_standing_decision(model):
                return f"champion: {name} version {version.number}, made by the decision that stands; nothing changed"
            _fetch_champion(connection, version)
            return _compete_with(name, version.number, model, f"version {version.number}")
    except RegistryUnreachable as error:
        if not workspace.CHAMPION.is_file():
            raise
        return f"champion: as last known ({workspace.CHAMPION}), for the registry cannot be reached: {error}"


def _fetch_champion(connection: Connection, version: Version) -> None:
    folder = workspace.CHAMPION_WEIGHTS
    try:
        present = folder.is_dir() and model_sha256(folder) == version.model_sha256
    except InputError:
        present = False
    if not present:
        fetch_verified(connection, version, folder, replace=True)


def _compete_with(name: str, version: str | None, model: str | None, said: str) -> str:
    value = {"name": name, "version": version, "model_sha256": model}
    if not workspace.CHAMPION.is_file() or read_json(workspace.CHAMPION) != value:
        write_json(workspace.CHAMPION, value)
    if model is None and workspace.CHAMPION_WEIGHTS.exists():
        shutil.rmtree(workspace.CHAMPION_WEIGHTS)
    return f"champion: {name}, {said}"


def _made_by_standing_decision(model: str) -> bool:
    """Whether metrics/decision.json promoted this model against the champion in champion.json."""
    if not (workspace.CHAMPION.is_file() and workspace.DECISION.is_file() and workspace.EVALUATION_METRICS.is_file()):
        return False
    decision = night.read()
    return decision.passes(model) and decision.competed_with == read_json(workspace.CHAMPION)["model_sha256"]
