"""`relex lineage`: what a version descends from, and that every byte of it is what was registered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from relex.core.atomic import scratch_folder
from relex.core.digest import file_sha256
from relex.core.errors import CorruptArtifact
from relex.core.workspace import STATE
from relex.params.load import Params
from relex.registry.fetch import fetch_verified
from relex.registry.store import models, versions
from relex.registry.store.connection import connect, registry_errors
from relex.registry.store.facts import tags as lineage_tags
from relex.registry.store.versions import Version


def lineage(params: Params, model: str) -> str:
    """What a registered model descends from, once every byte of it hashes to what was recorded; else CorruptArtifact.

    Checked: the weights against the version's tag, every file against lineage.json, lineage.json against the tags.
    """
    with registry_errors(params):
        connection = connect(params)
        version = versions.find(connection, versions.parse(model))
        facts = models.read_lineage(connection, version)
        with scratch_folder(STATE, "lineage") as temporary:
            folder = temporary / "model"
            fetch_verified(connection, version, folder)
            _check_files(version, folder, facts)
        _check_tags(version, facts)
    known = {"version": str(version), "mode": version.tags[models.MODE_TAG], **version.lineage}
    width = max(map(len, known))
    return "\n".join(
        [
            *(f"{key:<{width}}  {value}" for key, value in known.items()),
            "",
            f"verified: weights, {len(facts['files'])} files and tags are the ones that were registered",
        ]
    )


def _check_files(version: Version, folder: Path, facts: dict[str, Any]) -> None:
    for name, (_, expected) in facts["files"].items():
        if name in models.OURS:  # written beside the weights by `download` itself
            continue
        found = file_sha256(folder / name) if (folder / name).is_file() else "no such file"
        if found != expected:
            raise CorruptArtifact("a file changed", where=f"{version}: {name}", expected=expected, found=found)


def _check_tags(version: Version, facts: dict[str, Any]) -> None:
    for key, expected in lineage_tags(facts).items():
        if version.tags.get(key) != expected:
            raise CorruptArtifact(
                "a tag changed",
                where=f"{version}: {key}",
                expected=expected,
                found=version.tags.get(key, "no such tag"),
            )
