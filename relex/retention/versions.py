"""MLflow: what its versions need, what its runs hold; in the words of facts.py."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING

from relex.params.load import Params
from relex.registry.store import connection as registry
from relex.registry.store import needs, runs_kept, versions
from relex.retention.facts import Run, Version

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relex.registry.store.connection import Connection


@contextmanager
def connected(params: Params) -> Iterator[Connection | None]:
    """The registry, its errors in our words; None where nothing has made it yet. Unreachable, nothing may be pruned."""
    if not registry.exists(params):
        yield None
        return
    with registry.registry_errors(params):
        yield registry.connect(params)


def gather(
    connection: Connection | None, expand: Callable[[str], frozenset[str]]
) -> tuple[tuple[Version, ...], tuple[Run, ...]]:
    """Versions and nights' runs. expand: the objects of a DVC hash."""
    if connection is None:
        return (), ()
    found = tuple(
        Version(
            name=need.version.name,
            number=need.version.number,
            rebuild=frozenset().union(*map(expand, need.rebuild)),
            weights=frozenset().union(*map(expand, need.weights)),
            model_sha256=versions.model_of(need.version),
            promoted=need.promoted,
            aliased=need.aliased,
            given_up=needs.GIVEN_UP_TAG in need.version.tags,
        )
        for need in needs.gather(connection)
    )
    nights = runs_kept.gather(connection, versions.of_all_models(connection))
    runs = tuple(Run(n.id, n.name, n.started, n.complete, n.needed, n.size, n.models, n.night) for n in nights)
    return found, runs
