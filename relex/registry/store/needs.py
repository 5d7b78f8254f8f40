"""What registered versions need of DVC, and the note on a version whose rebuild was given up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from relex.registry.store import log, reference, versions
from relex.registry.store.models import MODE_TAG
from relex.registry.store.versions import CHAMPION, Version

if TYPE_CHECKING:
    from relex.registry.store.connection import Connection

GIVEN_UP_TAG = "rebuild_given_up"  # "2026-11-25T03:00:00Z (retention.promoted: 3)"
_REBUILD = ("dvc.base", "dvc.trajectory")  # what rebuild.py reads
_PROOF = ("dvc.evaluation",)  # the rows that a promotion rests on


@dataclass(frozen=True)
class Needs:
    """DVC hashes: rebuild of what it is made again from (and its rows), weights of the folder that a reference names.

    promoted: its place among the model's champions, 1 for the latest, None for a version that never was one.
    """

    version: Version
    rebuild: tuple[str, ...]
    weights: tuple[str, ...]
    promoted: int | None
    aliased: bool


def gather(connection: Connection) -> list[Needs]:
    """The needs of every version in the registry that was registered with a lineage."""
    found = []
    ranks: dict[str, Mapping[str, int]] = {}
    aliased: dict[str, frozenset[str]] = {}
    for version in versions.of_all_models(connection):
        if version.name not in ranks:
            ranks[version.name] = _ranks(replace(connection, model=version.name, remembered={}))
            aliased[version.name] = versions.aliased(connection, version.name)
        facts = version.lineage
        by_reference = version.tags.get(MODE_TAG) == "reference" and reference.MD5_TAG in version.tags
        found.append(
            Needs(
                version,
                rebuild=tuple(facts[name] for name in (*_REBUILD, *_PROOF) if name in facts),
                weights=(version.tags[reference.MD5_TAG],) if by_reference else (),
                promoted=ranks[version.name].get(version.number),
                aliased=version.number in aliased[version.name],
            )
        )
    return found


def give_up(connection: Connection, name: str, number: str, why: str) -> None:
    """Note on a version that the inputs of its rebuild leave DVC; their hashes stay in its lineage."""
    connection.client.set_model_version_tag(name, number, GIVEN_UP_TAG, f"{log.now()} ({why})")


def _ranks(connection: Connection) -> dict[str, int]:
    """Version number -> place among the champions, by when each became it last."""
    order: dict[str, None] = {}
    for slot in reversed(log.read(connection)):
        number = slot.move.after[CHAMPION]
        if slot.outcome == "done" and number is not None:
            order.setdefault(number)
    return {number: place for place, number in enumerate(order, 1)}
