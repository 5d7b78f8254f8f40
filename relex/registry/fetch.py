"""Getting a registered model's files, and proving that they are the ones that were evaluated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace as with_other
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relex.checkpoints.digest import model_sha256, weights_sha256
from relex.core.atomic import new_folder, read_json, scratch_folder
from relex.core.digest import file_sha256
from relex.core.errors import CorruptArtifact
from relex.core.workspace import STATE
from relex.params.registry import Registered
from relex.registry.store import models, versions
from relex.registry.store.connection import connect, registry_errors
from relex.registry.store.versions import MODEL_TAG, Version

if TYPE_CHECKING:
    from relex.registry.store.connection import Connection

SERVED = STATE / "served"


def fetch(params: Registered, model: str, out: Path) -> str:
    """Write the checkpoint folder of a registered model to `out`, once it hashes to what was evaluated."""
    with registry_errors(params):
        connection = connect(params, make=False)
        version = identified(connection, versions.find(connection, versions.parse(model)))
        fetch_verified(connection, version, Path(out))
    return f"{model}: version {version.number}, model {version.model_sha256[:12]} verified, in {out}"


def fetch_to_serve(params: Registered, model: str) -> tuple[Path, str]:
    """The verified checkpoint folder of a registered model, kept for the next time, and an example prompt of it."""
    with registry_errors(params):
        connection = connect(params, make=False)
        version = identified(connection, versions.find(connection, versions.parse(model)))
        folder = SERVED / version.model_sha256[:16]
        if not _kept(connection, version, folder):
            fetch_verified(connection, version, folder, replace=True)
    return folder, read_json(folder / models.LINEAGE).get("example", "Hello")


def _kept(connection: Connection, version: Version, folder: Path) -> bool:
    """Whether `folder` holds the version from an earlier time, every byte of it."""
    if not folder.is_dir():
        return False
    try:
        check_files(version, folder, models.read_lineage(connection, version)["files"])
        return model_sha256(folder) == version.model_sha256
    except CorruptArtifact:
        return False


def check_stored(connection: Connection, version: Version) -> None:
    """InputError unless every byte of a version is where it was put and what it was: before it may become champion.

    Cost: one fetch of the model, into a folder that is gone afterwards. Sizes are looked at first, which is cheap.
    """
    models.check_present(connection, version)
    version = identified(connection, version)
    with scratch_folder(STATE, "stored") as temporary:
        fetch_verified(connection, version, temporary / "model")


def fetch_verified(connection: Connection, version: Version, out: Path, *, replace: bool = False) -> None:
    """Write a version's checkpoint folder to `out`, whole and verified or not at all.

    Checked: the model (weights, configuration, tokenizer) against the version's tag, every file against lineage.json.
    """
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
        check_files(version, temporary, read_json(temporary / models.LINEAGE)["files"])


def check_files(version: Version, folder: Path, recorded: Mapping[str, Sequence[Any]]) -> None:
    """CorruptArtifact for a file that is not the registered one. recorded: name -> (bytes, SHA-256)."""
    for name, (_, expected) in recorded.items():
        if name in models.OURS:  # written beside the weights by `download` itself
            continue
        found = file_sha256(folder / name) if (folder / name).is_file() else "no such file"
        if found != expected:
            raise CorruptArtifact("a file changed", where=f"{version}: {name}", expected=expected, found=found)


def identified(connection: Connection, version: Version) -> Version:
    """The version with its tag MODEL_TAG. Earlier releases hashed the weights alone: theirs is computed once.

    That is done from files of which the weights hash to the version's tag, and all others to its lineage.json; else
    CorruptArtifact.
    """
    if MODEL_TAG in version.tags:
        return version
    recorded = models.read_lineage(connection, version)["files"]
    with scratch_folder(STATE, "identify") as folder:
        models.download(connection, version, folder)
        check_files(version, folder, recorded)
        if weights_sha256(folder) != version.weights_sha256:
            raise CorruptArtifact("the registered weights changed", where=version)
        identity = model_sha256(folder)
    connection.client.set_model_version_tag(version.name, version.number, MODEL_TAG, identity)
    return with_other(version, tags={**version.tags, MODEL_TAG: identity})
