"""Getting a registered model's files, and proving that they are the ones that were evaluated."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from relex.checkpoints.digest import weights_sha256
from relex.core.atomic import new_folder, read_json
from relex.core.errors import CorruptArtifact
from relex.core.workspace import STATE
from relex.params.load import Params
from relex.registry.store import models, versions
from relex.registry.store.connection import connect, registry_errors
from relex.registry.store.versions import Version

if TYPE_CHECKING:
    from relex.registry.store.connection import Connection

SERVED = STATE / "served"


def fetch(params: Params, model: str, out: Path) -> str:
    """Write the checkpoint folder of a registered model to `out`, once its weights hash to what was evaluated."""
    with registry_errors(params):
        connection = connect(params)
        version = versions.find(connection, versions.parse(model))
        fetch_verified(connection, version, Path(out))
    return f"{model}: version {version.number}, weights {version.weights_sha256[:12]} verified, in {out}"


def fetch_to_serve(params: Params, model: str) -> tuple[Path, str]:
    """The verified checkpoint folder of a registered model, kept for the next time, and an example prompt of it."""
    with registry_errors(params):
        connection = connect(params)
        version = versions.find(connection, versions.parse(model))
        folder = SERVED / version.weights_sha256[:16]
        if not folder.is_dir() or weights_sha256(folder) != version.weights_sha256:
            fetch_verified(connection, version, folder, replace=True)
    return folder, read_json(folder / models.LINEAGE).get("example", "Hello")


def fetch_verified(connection: Connection, version: Version, out: Path, *, replace: bool = False) -> None:
    """Write a version's checkpoint folder to `out`, whole and verified or not at all."""
    expected = version.weights_sha256
    with new_folder(out, replace=replace) as temporary:
        models.download(connection, version, temporary)
        found = weights_sha256(temporary)
        if found != expected:
            raise CorruptArtifact(
                "the registered weights are not the ones that were evaluated",
                where=version,
                expected=f"weights {expected[:12]}",
                found=f"weights {found[:12]}",
            )
