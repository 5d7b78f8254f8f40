"""The champion that a hop competes with, and the weights of models that it names, fetched and verified."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from relex.checkpoints.digest import model_sha256
from relex.core.errors import CorruptArtifact, InputError
from relex.core.hop import Model
from relex.params.load import Params
from relex.registry import history, last_known
from relex.registry.fetch import fetch_verified, identified
from relex.registry.store import facts, models, moves, versions
from relex.registry.store.connection import RegistryUnreachable, connect, exists, registry_errors
from relex.registry.store.versions import CHAMPION, Reference, Version

if TYPE_CHECKING:
    from relex.registry.store.connection import Connection


def present(params: Params) -> Model | None:
    """Who is champion now; None without one, and where there is no registry yet.

    RegistryUnreachable where it is away.
    """
    found = _version(params)
    return None if found is None else Model(version=found.number, model_sha256=found.model_sha256)


def descends_from(params: Params) -> bool:
    """Whether the present champion came from the base that params.yaml names."""
    found = _version(params)
    return found is not None and found.lineage.get("base") == facts.base_name(
        params.base.source.model_dump(mode="json")
    )


def asked(params: Params, champion: Model | None) -> int | None:
    """The slice of problems that this champion was proven on; None without one, and for one of another proof.

    RegistryUnreachable where the registry is away.
    """
    if champion is None:
        return None
    with registry_errors(params):
        connection = connect(params)
        hop = models.read_lineage(connection, _numbered(connection, champion)).get("hop", {})
    return hop.get("slice")


def _version(params: Params) -> Version | None:
    if not exists(params):
        return None
    with registry_errors(params):
        connection = connect(params)
        moves.settle(connection)
        history.mirror(connection)  # what a night knows where the registry is away at the next one's begin
        found = versions.by_alias(connection, CHAMPION)
        return None if found is None else identified(connection, found)


def put(params: Params, model: Model | None, folder: Path) -> None:
    """Have exactly this model's weights in `folder`, and nothing there for None.

    Asked of the registry only where they are not there yet; where it is away, of DVC's cache by what history.jsonl
    says. CorruptArtifact where either has another model.
    """
    if model is None:
        shutil.rmtree(folder, ignore_errors=True)
        return
    if held(model, folder):
        return
    try:
        _fetch(params, model, folder)
    except RegistryUnreachable:
        if not last_known.is_cached(model):
            raise
        last_known.put(model, folder)


def _fetch(params: Params, model: Model, folder: Path) -> None:
    with registry_errors(params):
        connection = connect(params)
        version = identified(connection, _numbered(connection, model))
        if version.model_sha256 != model.model_sha256:
            raise CorruptArtifact(
                "the registry has another model under this number",
                where=version,
                expected=f"model {model.model_sha256[:12]}",
                found=f"model {version.model_sha256[:12]}",
            )
        fetch_verified(connection, version, folder, replace=True)


def held(model: Model, folder: Path) -> bool:
    """Whether `folder` holds exactly this model."""
    try:
        return folder.is_dir() and model_sha256(folder) == model.model_sha256
    except InputError:
        return False


def _numbered(connection: Connection, model: Model) -> Version:
    return versions.find(connection, Reference(connection.model, None, model.version))
