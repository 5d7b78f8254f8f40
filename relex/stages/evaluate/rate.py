"""How fast this machine makes rows: kept from night to night, for a budget in minutes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from relex.core.atomic import read_json, write_json
from relex.core.digest import json_sha256
from relex.core.errors import InputError
from relex.core.workspace import STATE

FILE = STATE / "rates.json"
_ENOUGH = 200  # rows; fewer say little


@dataclass(frozen=True)
class Rate:
    """rows_per_second: of all engines together. start_seconds: until the first row."""

    rows_per_second: float
    start_seconds: float

    def rows(self, minutes: float) -> int:
        """What fits into `minutes`, one start included."""
        return max(0, int((60 * minutes - self.start_seconds) * self.rows_per_second))


def key(*facts: Any) -> str:
    """Of what a rate depends on: engine, how many, kind of model."""
    return json_sha256(list(facts))


def read(name: str) -> Rate | None:
    """The rate that was last measured; None where none was, or it cannot be read."""
    try:
        return Rate(**read_json(FILE)[name])
    except (InputError, KeyError, TypeError):
        return None


def note(name: str, rows: int, seconds: float, start_seconds: float) -> Rate | None:
    """Keep what a night measured; None, and nothing kept, after too few rows."""
    if rows < _ENOUGH or seconds <= 0:
        return None
    found = Rate(rows / seconds, start_seconds)
    try:
        known = read_json(FILE)
    except InputError:
        known = {}
    write_json(FILE, {**(known if isinstance(known, dict) else {}), name: asdict(found)})
    return found
