"""Where a registry in a file of the project keeps its files: named relative to the project's root.

So the folder can be moved, and a copy of it has a registry of its own. MLflow makes a local place absolute when it
makes an experiment, and the places of runs, models and versions follow from that one; it resolves a relative place
when it opens a file. `make_relative` therefore corrects what MLflow has just made. Registries made before that hold
absolute places: `check` refuses them once they belong to another folder, and `move_here` mends them.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from relex.core.errors import InputError

ARTIFACTS = Path("mlartifacts")  # where a registry in a local database keeps its files
_WAIT_SECONDS = 60.0  # for another process that writes

# Every column in which MLflow keeps a place: table, column, which rows, and what a row is to a reader.
_COLUMNS = (
    ("experiments", "artifact_location", "1", "experiments"),
    ("runs", "artifact_uri", "1", "runs"),
    ("logged_models", "artifact_location", "1", "models"),
    ("model_versions", "storage_location", "1", "versions"),
    ("model_versions", "source", "1", "sources of versions"),
    ("trace_tags", "value", "key = 'mlflow.artifactLocation'", "traces"),
)
# A place of ours or of MLflow's default experiment: the folder that it lay in, and the place below that.
_PLACE = re.compile(rf"(?P<root>/.*)/(?P<inside>(?:{ARTIFACTS}|mlruns/\d+)(?:/.*)?)")


@dataclass(frozen=True)
class Place:
    """An absolute place in the database: the row and column that hold it, and what it is made of.

    root: the folder it was recorded in; inside: the rest, as the URI spells it, which is what it becomes.
    """

    table: str
    column: str
    row: int
    kind: str
    uri: str
    root: Path
    inside: str

    @property
    def is_here(self) -> bool:
        """Whether it means this folder, by whatever path."""
        return _is_here(self.root)

    @property
    def left_behind(self) -> bool:
        """Whether its files are in the folder that it names, and not in this one."""
        inside = url2pathname(self.inside)
        return (self.root / inside).is_dir() and not Path(inside).is_dir()

    @property
    def is_lost(self) -> bool:
        """Whether there are no files in either folder, as a run without artifacts never had any."""
        inside = url2pathname(self.inside)
        return not (self.root / inside).is_dir() and not Path(inside).is_dir()


def is_ours(database: Path) -> bool:
    """Whether a SQLite file lies in the project; one elsewhere is shared, and keeps absolute places."""
    return database.resolve().is_relative_to(Path.cwd().resolve())


def parse(uri: str) -> tuple[Path, str] | None:
    """(folder, the rest of the URI) of an absolute local place such as file:///a/mlartifacts/1; None for any other."""
    scheme = urlsplit(uri).scheme
    path = urlsplit(uri).path if scheme == "file" else uri
    match = _PLACE.fullmatch(path) if scheme in ("", "file") else None
    return (Path(url2pathname(match["root"])), match["inside"]) if match else None


def absolute(database: Path) -> list[Place]:
    """Every absolute place that the database holds, in the order of _COLUMNS."""
    with _opened(database) as connection:
        return _absolute(connection)


def check(database: Path) -> None:
    """InputError when the registry's files are recorded in another folder than this one."""
    roots = foreign_roots(absolute(database))
    if roots:
        raise InputError(
            "the registry was moved or copied here: it names its files in another folder",
            where=database,
            expected=Path.cwd(),
            found=", ".join(str(root) for root in roots),
            todo="`relex relocate` shows what to mend, and `relex relocate --yes` mends it",
        )


def foreign_roots(places: Sequence[Place]) -> list[Path]:
    """The folders other than this one that places name, that of most places first."""
    return [root for root, _ in Counter(place.root for place in places).most_common() if not _is_here(root)]


def make_relative(database: Path, experiment: str) -> None:
    """Let an experiment name its files relative to the root, where its place is an absolute one in this folder."""
    with _opened(database) as connection, _transaction(connection):
        rows = connection.execute("SELECT rowid FROM experiments WHERE experiment_id = ?", (experiment,)).fetchall()
        wanted = {row for (row,) in rows}
        _update(connection, [p for p in _absolute(connection, "experiments") if p.row in wanted and p.is_here])


def move_here(database: Path) -> list[Place]:
    """Make every absolute place relative to this folder, all or none; the places as they were.

    InputError, and nothing changed, when files lie only in the folder that a place names.
    """
    with _opened(database) as connection, _transaction(connection):
        places = _absolute(connection)
        behind = [place for place in places if place.left_behind]
        if behind:
            raise InputError(
                "files of the registry are not in this folder, only in the one that it names",
                where=behind[0].root / url2pathname(behind[0].inside),
                found=f"{len(behind)} such places",
                todo=f"copy them first: cp -a {behind[0].root / ARTIFACTS} .",
            )
        _update(connection, places)
    return places


def _is_here(root: Path) -> bool:
    return root.resolve() == Path.cwd().resolve()


def _absolute(connection: sqlite3.Connection, only: str = "") -> list[Place]:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    found = []
    for table, column, condition, kind in _COLUMNS:
        if table not in tables or only not in ("", table):
            continue  # made by an earlier MLflow
        local = f"({column} LIKE '/%' OR {column} LIKE 'file:%')"
        query = f"SELECT rowid, {column} FROM {table} WHERE {condition} AND {local}"
        for row, uri in connection.execute(query):
            parsed = parse(uri)
            if parsed:
                found.append(Place(table, column, row, kind, uri, *parsed))
    return found


def _update(connection: sqlite3.Connection, places: Sequence[Place]) -> None:
    for place in places:
        connection.execute(
            f"UPDATE {place.table} SET {place.column} = ? WHERE rowid = ? AND {place.column} = ?",
            (place.inside, place.row, place.uri),
        )


@contextlib.contextmanager
def _opened(database: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(database, timeout=_WAIT_SECONDS, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """What the block writes stays as a whole, also when the process is killed; or nothing of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
