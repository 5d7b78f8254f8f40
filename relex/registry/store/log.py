"""The log of alias moves, kept in the registry itself: append-only, and safe against two writers.

The log is one MLflow run; a move is one of its parameters, `move/000004`, and how it ended is another,
`move/000004/outcome`. MLflow never lets a parameter's value change: of two nights that write the same number at the
same time exactly one succeeds, on a database and over HTTP alike. That is the only compare-and-set MLflow offers.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from relex.core.errors import InputError
from relex.params.redact import redact
from relex.registry.store.connection import Connection, run_tags, user

if TYPE_CHECKING:
    from mlflow.entities import Run

KIND_TAG, KIND = "relex.kind", "champion history"
_KEY = "move/{:06d}"
_TEXT_LIMIT = 1500  # of a reason: MLflow cuts parameters at 6,000 characters


@dataclass(frozen=True)
class Move:
    """One entry of the log. before, after: the version number behind each alias, None for an alias that is not set.

    what: promote, rollback or outside (an alias that something else moved, seen afterwards). competed_with,
    decision_sha256, run: the decision's champion, content and MLflow run, None where there was no decision.
    owner: who is at it, so that a later command can tell a move under way from one that was killed.
    """

    id: str
    when: str  # UTC, ISO 8601
    what: str
    model: str
    before: dict[str, str | None]
    after: dict[str, str | None]
    weights_sha256: str | None
    why: str
    by: str
    forced: bool
    competed_with: str | None
    decision_sha256: str | None
    run: str | None
    owner: dict[str, Any]
    model_sha256: str | None = None  # entries of earlier releases have none


@dataclass(frozen=True)
class Slot:
    """A move with its number in the log; outcome: done, undone, or None while nobody knows."""

    number: int
    move: Move
    outcome: str | None


class Taken(Exception):
    """Another process wrote this number of the log first."""


def new_move(model: str, what: str, before: dict[str, str | None], after: dict[str, str | None], **facts: Any) -> Move:
    """A move that starts now, by this process; facts are the remaining fields of Move, absent ones empty."""
    empty: dict[str, Any] = {
        "weights_sha256": None,
        "why": "",
        "by": user(),
        "forced": False,
        "competed_with": None,
        "decision_sha256": None,
        "run": None,
    }
    facts["why"] = redact(facts.get("why", ""))[:_TEXT_LIMIT]  # people read it, here and in history.jsonl
    return Move(
        id=uuid.uuid4().hex,
        when=now(),
        what=what,
        model=model,
        before=before,
        after=after,
        owner={"host": socket.gethostname(), "pid": os.getpid(), "started": _started(os.getpid()), "at": time.time()},
        **{**empty, **facts},
    )


def now() -> str:
    """The present moment in UTC, ISO 8601 to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def read(connection: Connection) -> list[Slot]:
    """All entries in order; empty when nothing was ever moved."""
    run = _find_run(connection)
    if run is None:
        return []
    params = run.data.params
    slots = []
    for number in range(1, len(params) + 1):
        key = _KEY.format(number)
        if key not in params:
            break
        outcome = params.get(f"{key}/outcome")
        try:
            move = Move(**json.loads(params[key]))
            slots.append(Slot(number, move, json.loads(outcome)["state"] if outcome else None))
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(
                "an entry of the history was not written by this program",
                where=f"run {run.info.run_id}: {key}",
                found=error,
            ) from None
    return slots


def begin(connection: Connection, number: int, move: Move) -> Slot:
    """Write a move as entry `number`; Taken when another process has that number already."""
    _write_once(connection, _KEY.format(number), asdict(move))
    return Slot(number, move, None)


def end(connection: Connection, slot: Slot, state: str) -> None:
    """Write how a move ended, `done` or `undone`; Taken when another process has said so already."""
    outcome = {"state": state, "when": now(), "id": uuid.uuid4().hex}
    _write_once(connection, f"{_KEY.format(slot.number)}/outcome", outcome)


def owner_alive(move: Move, lease: float) -> bool:
    """Whether the process that began a move may still be at it: exact on its own host, by age in seconds elsewhere."""
    owner = move.owner
    if owner["host"] == socket.gethostname():
        return _started(owner["pid"]) == owner["started"] and owner["pid"] != os.getpid()
    return time.time() - owner["at"] < lease


def _write_once(connection: Connection, key: str, value: dict[str, Any]) -> None:
    from mlflow.exceptions import MlflowException

    if KIND not in connection.remembered and _find_run(connection) is None:
        _make_run(connection)
    try:
        connection.client.log_param(connection.remembered[KIND], key, json.dumps(value, sort_keys=True))
    except MlflowException as error:
        if error.error_code == "INVALID_PARAMETER_VALUE" and "was already logged" in str(error):
            raise Taken(key) from None
        raise


def _experiment(connection: Connection) -> str:
    return f"{connection.model}: champion history"


def _find_run(connection: Connection) -> Run | None:
    known = connection.remembered.get(KIND)
    if known is not None:
        return connection.client.get_run(known)
    experiment = connection.client.get_experiment_by_name(_experiment(connection))
    if experiment is None:
        return None
    runs = connection.client.search_runs(
        [experiment.experiment_id], f"tags.`{KIND_TAG}` = '{KIND}'", order_by=["attributes.start_time ASC"]
    )
    if not runs:
        return None
    run = min(runs, key=lambda run: (run.info.start_time, run.info.run_id))
    connection.remembered[KIND] = run.info.run_id
    return run


def _make_run(connection: Connection) -> None:
    """The log's run. Only the maker of the experiment makes it, as an experiment's name is unique; others wait."""
    first = connection.client.get_experiment_by_name(_experiment(connection)) is None
    experiment = connection.experiment_id(_experiment(connection))
    deadline = time.monotonic() + (0 if first else 5)
    while (run := _find_run(connection)) is None and time.monotonic() < deadline:
        time.sleep(0.2)
    if run is None:
        made = connection.client.create_run(experiment, tags={KIND_TAG: KIND, **run_tags()}, run_name="moves")
        connection.client.set_terminated(made.info.run_id)
        _find_run(connection)


def _started(pid: int) -> float | None:
    """When a process of this host started, None when there is none: tells a pid from its later reuse."""
    import psutil

    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return None
