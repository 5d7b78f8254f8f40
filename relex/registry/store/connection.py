"""The connection to an MLflow server or database: quiet, without telemetry, with errors in this project's words.

MLflow is imported inside the functions: a command that needs no registry does not pay for it.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from filelock import FileLock

from relex.core.atomic import new_file, remove_leftovers
from relex.core.errors import InputError, RelexError
from relex.core.workspace import STATE
from relex.params.redact import redact
from relex.params.registry import Registered
from relex.registry.store import places

if TYPE_CHECKING:
    from mlflow import MlflowClient

_RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
# A night must not hang for minutes on a dead server; whoever needs other values sets the variables.
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    _RETRIES: "3",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
_FULL_TEXTS = ("No space left on device", "disk is full", "Disk quota exceeded", "File too large")
# What SQLite and MLflow say of a file that is no database, or one whose making was broken off.
_DAMAGED_TEXTS = ("file is not a database", "disk image is malformed", "duplicate column name", "already exists\n[SQL")
_DEFAULT_EXPERIMENT = "0"  # MLflow's own, made with the tables
_UNREACHABLE_CODES = {"TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"}
_UNREACHABLE_TEXTS = ("Max retries exceeded", "failed with exception", "Connection refused", "could not connect")


class RegistryUnreachable(InputError):
    """The MLflow server or database does not answer; the night's own work is untouched."""


class RegistryRefused(InputError):
    """The MLflow server answered that this may not be done."""


@dataclass(frozen=True)
class Connection:
    """An open registry. `uri` may hold credentials: it is printed only through `redact`.

    database: the SQLite file that it is, when that lies in the project. remembered: ids that never change once found,
    to spare asking for them again.
    """

    client: MlflowClient
    uri: str
    model: str
    experiment: str
    database: Path | None = None
    remembered: dict[str, str] = field(default_factory=dict)

    @property
    def is_database(self) -> bool:
        """True when this process talks to the database itself, without a server in between."""
        return urlsplit(self.uri).scheme.split("+")[0] not in ("http", "https", "databricks")

    def experiment_id(self, name: str) -> str:
        """The experiment's id, made when it does not exist yet. Artifacts of a database lie in places.ARTIFACTS."""
        from mlflow.exceptions import MlflowException

        found = self.client.get_experiment_by_name(name)
        if found is None:
            location = places.ARTIFACTS.absolute().as_uri() if self.is_database else None
            try:
                self.client.create_experiment(name, artifact_location=location)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise  # else another process was quicker
            found = self.client.get_experiment_by_name(name)
        if found is None or found.lifecycle_stage != "active":
            raise InputError(
                "the experiment was deleted in MLflow",
                where=name,
                todo="restore it (mlflow experiments restore) or name another in params.yaml: registry.experiment",
            )
        if self.database is not None and places.parse(found.artifact_location):
            # Whoever made it, and was killed before this line: it is relative before the first run is made in it.
            places.make_relative(self.database, found.experiment_id)
        return found.experiment_id


def run_tags() -> dict[str, str]:
    """Who logs a run and with what, under the names that MLflow's pages show."""
    return {"mlflow.user": user(), "mlflow.source.name": "relex", "mlflow.source.type": "LOCAL"}


def user() -> str:
    """The name of this process's user."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def database_file(uri: str) -> Path | None:
    """The file of a SQLite URI such as sqlite:///mlflow.db, relative to the project's root; None for any other."""
    if not uri.startswith("sqlite:///"):
        return None
    return Path(uri.removeprefix("sqlite:///").split("?")[0])


def exists(params: Registered) -> bool:
    """False only when the registry is a SQLite file that nothing has made yet."""
    path = database_file(params.registry.tracking_uri)
    return path is None or path.is_file()


def connect(params: Registered, *, make: bool = True) -> Connection:
    """Open params.registry.tracking_uri; call inside `registry_errors`.

    make: whether a database in a file is made where there is none; InputError otherwise, for whoever only reads.
    """
    uri = params.registry.tracking_uri
    path = database_file(uri)
    if path is not None:
        if not make and not path.is_file():
            raise InputError(
                "there is no registry",
                where=redact(uri),
                found=f"no file {path}",
                todo="run where it lies, or name it with --tracking-uri; `relex register` makes one",
            )
        uri = f"sqlite:///{path.absolute()}"
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    for noisy in ("mlflow", "alembic", "httpx"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    import mlflow

    if path is not None:
        _make_whole(path)
    database = path.absolute() if path is not None and places.is_ours(path) else None
    if database is not None:
        places.check(database)
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    return Connection(mlflow.MlflowClient(uri, uri), uri, params.registry.model, params.registry.experiment, database)


def _make_whole(path: Path) -> None:
    """Make the database where there is none: aside, with all of MLflow's tables, then under its name.

    MLflow makes its tables in steps, and a database that was left between two of them it never accepts again. Of two
    processes that would make it the second waits, and finds it made. What a killed one was making is removed: it need
    not have been a night's, which sweeps at its end.
    """
    if path.is_file():
        return
    import mlflow

    STATE.mkdir(exist_ok=True)
    with FileLock(STATE / "registry.lock"):
        if path.is_file():
            return
        remove_leftovers(path.parent, of=path.name)
        with new_file(path) as temporary:
            client = mlflow.MlflowClient(f"sqlite:///{temporary.absolute()}", f"sqlite:///{temporary.absolute()}")
            client.search_experiments(max_results=1)
            client.search_registered_models(max_results=1)
            if places.is_ours(path):
                places.make_relative(temporary, _DEFAULT_EXPERIMENT)


@contextlib.contextmanager
def registry_errors(params: Registered) -> Iterator[None]:
    """Turn what MLflow, its database or its server raise into one clear message without credentials."""
    try:
        yield
    except RelexError as error:
        text = redact(str(error))
        if text != str(error):
            raise (InputError(text) if isinstance(error, InputError) else RelexError(text)) from None
        raise
    except Exception as error:
        kind = _kind(error)
        if kind is None:
            raise
        raise _ERRORS[kind](params, error) from None


def _kind(error: Exception) -> str | None:
    """A key of _ERRORS for what MLflow, a database driver or a disk raises; None for any other."""
    import sqlite3

    import requests
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    text = str(error)
    ours = isinstance(error, (OSError, MlflowException, SQLAlchemyError, sqlite3.Error))
    if ours and any(sign in text for sign in _FULL_TEXTS):  # copytree reports it as text only
        return "full"
    if ours and any(sign in text for sign in _DAMAGED_TEXTS):
        return "damaged"
    if isinstance(error, (SQLAlchemyError, sqlite3.Error, requests.RequestException, ConnectionError, TimeoutError)):
        return "unreachable"
    if not isinstance(error, MlflowException):
        return None
    away = error.error_code in _UNREACHABLE_CODES or any(sign in text for sign in _UNREACHABLE_TEXTS)
    return "unreachable" if away else "refused"


def _full(params: Registered, error: Exception) -> InputError:
    return InputError(
        "the disk is full",
        where=redact(params.registry.tracking_uri),
        found=_first_line(error),
        todo="make room and run `relex register` again: it goes on where it stopped",
    )


def _damaged(params: Registered, error: Exception) -> InputError:
    return InputError(
        "the registry's database is damaged",
        where=redact(params.registry.tracking_uri),
        found=_first_line(error),
        todo="restore it from a copy, or move it away and run `relex register`, which makes a new one; history.jsonl "
        "says who was champion",
    )


def _refused(params: Registered, error: Exception) -> InputError:
    return RegistryRefused("the registry refused", where=redact(params.registry.tracking_uri), found=_first_line(error))


def _unreachable(params: Registered, error: Exception) -> InputError:
    asked = os.environ.get(_RETRIES, "") if params.registry.tracking_uri.startswith("http") else ""
    retries = int(asked) if asked.isdecimal() else 0
    return RegistryUnreachable(
        "the registry cannot be reached",
        where=redact(params.registry.tracking_uri),
        found=f"{_cause(error)}, tried {f'{retries + 1} times' if retries else 'once'}",
        todo="start it, or correct its address; a night's work is kept, and `make nightly` goes on from it once it "
        "answers again, as `relex register` and `relex promote` do",
    )


_ERRORS = {"full": _full, "damaged": _damaged, "unreachable": _unreachable, "refused": _refused}


def _cause(error: BaseException) -> str:
    """What lies at the bottom of an error, such as: Connection refused. MLflow and urllib3 wrap it in their own words,
    with the whole address in them."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return redact(error.strerror) if isinstance(error, OSError) and error.strerror else _first_line(error)


def _first_line(error: BaseException) -> str:
    return redact(" ".join(str(error).split())[:400])
