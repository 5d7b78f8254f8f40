"""`relex lineage`: what a version descends from, and that every byte of it is what was registered."""

from __future__ import annotations

from relex.core.atomic import scratch_folder
from relex.core.workspace import STATE
from relex.params.registry import Registered
from relex.registry.fetch import fetch_verified, identified
from relex.registry.store import models, versions
from relex.registry.store.connection import Connection, connect, registry_errors
from relex.registry.store.needs import GIVEN_UP_TAG
from relex.registry.store.versions import Version


def lineage(params: Registered, model: str) -> str:
    """What a registered model descends from, once every byte of it hashes to what was recorded; else CorruptArtifact.

    Checked: the model (weights, configuration, tokenizer) against the version's tag, every file against lineage.json,
    lineage.json against the tags.
    """
    with registry_errors(params):
        connection = connect(params, make=False)
        version = identified(connection, versions.find(connection, versions.parse(model)))
        facts = models.read_lineage(connection, version)
        with scratch_folder(STATE, "lineage") as temporary:
            fetch_verified(connection, version, temporary / "model")
        models.check_packaging(connection, version)
        versions.check_tags(version, facts)
        known = {"version": str(version), "mode": version.tags[models.MODE_TAG], **version.lineage}
        known["descent"] = " <- ".join(descent(connection, version))
    if versions.FORCED_TAG in version.tags:
        known[versions.FORCED_TAG] = version.tags[versions.FORCED_TAG]
    if GIVEN_UP_TAG in version.tags:
        known["rebuild"] = f"what it was made from was let go on {version.tags[GIVEN_UP_TAG]}"
    width = max(map(len, known))
    files = len(facts["files"]) + len(facts.get("packaging", {}))
    return "\n".join(
        [
            *(f"{key:<{width}}  {value}" for key, value in known.items()),
            "",
            f"verified: the model, {files} files and tags are the ones that were registered",
        ]
    )


def descent(connection: Connection, version: Version) -> list[str]:
    """A version, the one that its hop started from, and so on, down to the original base, each in a few words.

    It ends early at a version that the registry has no more.
    """
    told: list[str] = []
    seen: set[str] = set()
    found: Version | None = version
    while found is not None and found.number not in seen:
        seen.add(found.number)
        facts = found.lineage
        hop, step = facts.get("hop", "a night of its own"), facts.get("target", "?")
        told.append(f"version {found.number} (step {step}; {hop})")
        start = facts.get("start")
        if start is None:
            return [*told, facts.get("base", "a base that is not recorded")]
        found = versions.by_number(connection, start.removeprefix("version "), version.name)
    return [*told, "a version that is not in the registry any more"]
