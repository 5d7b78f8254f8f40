"""`relex relocate`: a registry whose folder was moved or copied, made this folder's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from relex.core.errors import InputError
from relex.params.redact import redact
from relex.params.registry import Registered
from relex.registry.store import places
from relex.registry.store.connection import database_file, registry_errors
from relex.registry.store.places import Place


def relocate(params: Registered, *, yes: bool = False) -> str:
    """Say which places of files in the registry are absolute, and with `yes` make them relative to this folder.

    Nothing is written without `yes`, no file is touched with it. InputError for a registry that is not a file of this
    project, and for one whose files were not moved or copied along.
    """
    database = database_file(params.registry.tracking_uri)
    if database is None or not database.is_file() or not places.is_ours(database):
        raise InputError(
            "nothing to relocate",
            where=redact(params.registry.tracking_uri),
            expected="a registry in a file of this folder, such as sqlite:///mlflow.db",
        )
    with registry_errors(params):
        found = places.move_here(database) if yes else places.absolute(database)
    if not found:
        return f"{database}: nothing to do, every place is relative to the folder that the registry lies in"
    return "\n".join([*_lines(found), "", "done" if yes else _advice(found)])


def _lines(found: Sequence[Place]) -> list[str]:
    """A block for each folder that places name: how many of which kind, an example, what is and what is not here."""
    lines = []
    for root in dict.fromkeys(place.root for place in found):
        of_root = [place for place in found if place.root == root]
        counts = Counter(place.kind for place in of_root)
        state = "this folder" if of_root[0].is_here else "another folder" if root.is_dir() else "gone"
        lines += [
            f"{root} ({state}): {', '.join(f'{number} {kind}' for kind, number in counts.items())}",
            f"  {of_root[-1].uri}",
            f"  becomes {of_root[-1].inside}",
        ]
        behind = sum(place.left_behind for place in of_root)
        if behind:
            lines.append(f"  the files of {behind} are only there: cp -a {root / places.ARTIFACTS} .")
        lost = sum(place.is_lost for place in of_root if place.kind == "models")
        if lost:
            lines.append(f"  the files of {lost} models are in neither folder; `relex rebuild` makes weights again")
    return lines


def _advice(found: Sequence[Place]) -> str:
    if any(place.left_behind for place in found):
        return "nothing was changed; copy what is missing here, then `relex relocate --yes`"
    return "nothing was changed; `relex relocate --yes` does it"
