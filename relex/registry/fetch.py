"""Getting a registered model's files, and proving that they are the ones that were evaluated."""

from __future__ import annotations

import tempfile
from dataclasses import replace as with_other
from pathlib import Path
from typing import TYPE_CHECKING

from relex.checkpoints.digest import model_sha256, weights_sha256
from relex.core.atomic import new_folder, read_json
from relex.core.digest import file_sha256
from relex.core.errors import CorruptArtifact
from relex.core.workspace import STATE
from relex.params.load import Params
from relex.registry.store import models, versions
from relex.registry.store.connection import connect, registry_errors
from relex.registry.store.versions import MODEL_TAG, Version

if TYPE_CHECKING:
    from relex.registry.store.connection import Connection

SERVED = STATE / "served"


def fetch(params: Params, model: str, out: Path) -> str:
    """Write the checkpoint folder of a registered model to `out`, once it hashes to what was evaluated."""
    with registry_errors(params):
        connection = connect(params)
        version = identified(connection, versions.find(connection, versions.parse(model)))
        fetch_verified(connection, version, Path(out))
    return f"{model}: version {version.number}, model {version.model_sha256[:12]} verified, in {out}"


def fetch_to_serve(params: Params, model: str) -> tuple[Path, str]:
    """The verified checkpoint folder of a registered model, kept for the next time, and an example prompt of it."""
    with registry_errors(params):
        connection = connect(params)
        version = identified(connection, versions.find(connection, versions.parse(model)))
        folder = SERVED / version.model_sha256[:16]
        if not folder.is_dir() or model_sha256(folder) != version.model_sha256:
            fetch_verified(connection, version, folder, replace=True)
    return folder, read_json(folder / models.LINEAGE).get("example", "Hello")


def fetch_verified(connection: Connection, version: Version, out: Path, *, replace: bool = False) -> None:
    """Write a version's checkpoint folder to `out`, whole and verified or not at all."""
    expected = version.model_sha256
    with new_folder(out, replace=replace) as temporary:
        models.download(connection, version, temporary)
        found = model_sha256(temporary)
        if found != expected:
            raise CorruptArtifact(
                "the registered model is not the one that was evaluated: weights, configuration or tokenizer",
                where=version,
                expected=f"model {expected[:12]}",
                found=f"model {found[:12]}",
            )


def identified(connection: Connection, version: Version) -> Version:
    """The version with its tag MODEL_TAG. Earlier releases hashed the weights alone: theirs is computed once.

    That is done from files of which the weights hash to the version's tag, and all others to its lineage.json; else
    CorruptArtifact.
    """
    if MODEL_TAG in version.tags:
        return version
    recorded = models.read_lineage(connection, version)["files"]
    STATE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="identify-", dir=STATE) as temporary:
        folder = Path(temporary)
        models.download(connection, version, folder)
        changed = [
            name
            for name, (_, sha256) in recorded.items()
            if name not in models.OURS and not ((folder / name).is_file() and file_sha256(folder / name) == sha256)
        ]
        if changed or weights_sha256(folder) != version.weights_sha256:
            raise CorruptArtifact("the registered files changed", where=version, found=", ".join(changed) or "weights")
        identity = model_sha256(folder)
    connection.client.set_model_version_tag(version.name, version.number, MODEL_TAG, identity)
    return with_other(version, tags={**version.tags, MODEL_TAG: identity})
