"""Moving aliases as one transaction: all of aliases, status tags and history record, or none.

A move is first written to the log (registry_log.py), then applied, then marked done. Whatever kills it in between
leaves an entry without an outcome; the next command undoes what it had applied. A failure undoes at once.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

from relex.core.errors import Busy, RelexError
from relex.registry.store import log
from relex.registry.store.connection import Connection
from relex.registry.store.versions import ALIASES, CHAMPION, PREVIOUS, aliases, by_alias, hashes

STATUS_TAG, NO_ALIAS = "status", "registered"
LEASE = 120.0  # seconds after which a move begun on another machine counts as killed
PATIENCE = 30.0  # seconds to wait for a move that is under way

State = dict[str, str | None]


class Overtaken(RelexError):
    """Another process moved the aliases first; nothing was changed here."""


@dataclass(frozen=True)
class Settled:
    """The aliases as they stood when the log held `entries` entries, all of them with an outcome."""

    state: State
    entries: int


def settle(connection: Connection, patience: float = PATIENCE) -> Settled:
    """How things stand, after undoing what a killed move left and recording what was moved elsewhere.

    Busy when another live process is at a move for longer than `patience` seconds.
    """
    deadline = time.monotonic() + patience
    while True:
        slots = log.read(connection)
        last = slots[-1] if slots else None
        if last is not None and last.outcome is None:
            if not log.owner_alive(last.move, LEASE):
                _undo(connection, last)
            elif time.monotonic() > deadline:
                raise Busy(
                    f"another process is moving aliases of {connection.model}",
                    where=f"history entry {last.number}",
                    found=f"{last.move.what} by {last.move.by}, begun {last.move.when}",
                    todo="wait for it and try again",
                )
            else:
                time.sleep(0.2)
            continue
        state = aliases(connection)
        expected = next((slot.move.after for slot in reversed(slots) if slot.outcome == "done"), None)
        if expected is None or all(state[alias] == expected[alias] for alias in (CHAMPION, PREVIOUS)):
            return Settled(state, len(slots))
        _record_outside(connection, len(slots) + 1, expected, state)


def move(connection: Connection, settled: Settled, new: log.Move) -> log.Slot:
    """Carry out a move that was decided on `settled`; Overtaken when anything was moved since.

    The next number of the log is the proof: it can be written only once, and not after someone else's entry.
    """
    try:
        slot = log.begin(connection, settled.entries + 1, new)
    except log.Taken:
        raise Overtaken(f"another process moved the aliases of {connection.model} in this moment") from None
    try:
        _project(connection, new.before, new.after)
        log.end(connection, slot, "done")
    except BaseException:
        with contextlib.suppress(Exception):  # where that fails too, the open entry makes the next command do it
            _undo(connection, slot)
        raise
    return slot


def status_of(version: str, state: State) -> str:
    """The first of ALIASES that points to a version, or NO_ALIAS."""
    return next((alias for alias in ALIASES if state[alias] == version), NO_ALIAS)


def _project(connection: Connection, before: State, after: State) -> None:
    """Make what differs between `before` and `after` as in `after`, aliases and status tags.

    `previous` goes first: who sees a new champion sees the way back. What does not differ is left alone, as a night
    that registers meanwhile may move `challenger`.
    """
    for alias in sorted(ALIASES, key=lambda alias: alias == CHAMPION):
        version = after[alias]
        if version == before[alias]:
            continue
        if version is not None:
            connection.client.set_registered_model_alias(connection.model, alias, version)
        else:
            connection.client.delete_registered_model_alias(connection.model, alias)
    for version in sorted({v for v in (*before.values(), *after.values()) if v is not None}, key=int):
        status = status_of(version, after)
        if status != status_of(version, before):
            connection.client.set_model_version_tag(connection.model, version, STATUS_TAG, status)


def _undo(connection: Connection, slot: log.Slot) -> None:
    """Put back what stood before a move. Twice is the same as once, so a killed undo is simply done again."""
    _project(connection, slot.move.after, slot.move.before)
    with contextlib.suppress(log.Taken):  # another process came to a verdict; settle reads it
        log.end(connection, slot, "undone")


def _record_outside(connection: Connection, number: int, expected: State, state: State) -> None:
    seen = log.new_move(
        connection.model,
        "outside",
        expected,
        state,
        **hashes(by_alias(connection, CHAMPION)),
        why="moved by other means than relex",
        by="unknown",
    )
    with contextlib.suppress(log.Taken):  # another process saw it too
        log.end(connection, log.begin(connection, number, seen), "done")
