"""What a proof took, over all the calls that went on in its folder: timings/evaluate.json, added to as rows end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from relex.core.atomic import read_json, write_json
from relex.core.errors import InputError
from relex.core.timing import commit

_EVERY = 1.0  # seconds between two writes: what a call that is killed took is known up to so many


class Account:
    """The sum of what earlier calls left in the file and of what this one spends.

    The file is as a stage's timings: seconds (wall), ended, commit, and what Generation.spent counts. A call that
    generates nothing adds nothing, and leaves the file as it is.
    """

    def __init__(self, path: Path):
        self._path, self._begun, self._written = path, time.perf_counter(), -float("inf")
        self._commit = commit()
        self._before = _read(path)

    def note(self, spent: Mapping[str, Any]) -> None:
        """Write the sum, unless that was done a moment ago. spent: of this call so far, as Generation counts it."""
        if time.perf_counter() - self._written >= _EVERY:
            self.close(spent)

    def close(self, spent: Mapping[str, Any]) -> None:
        """Write the sum, whenever it was written last."""
        if self._before is not None and not _generated(spent):
            return
        now = time.perf_counter()
        before = self._before or {}
        seconds = round(before.get("seconds", 0.0) + now - self._begun, 3)
        ended = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        summed = added(before, spent) | {"seconds": seconds, "ended": ended, "commit": self._commit}
        write_json(self._path, summed)
        self._written = now


def added(before: Mapping[str, Any], spent: Mapping[str, Any]) -> dict[str, Any]:
    """The sums of the numbers in two accounts, part by part; one that only one of them has stays as it is."""
    sums = dict(before)
    for name, value in spent.items():
        known = before.get(name)
        if isinstance(value, Mapping):
            sums[name] = added(known if isinstance(known, Mapping) else {}, value)
        else:
            sums[name] = value + (known if isinstance(known, int | float) else 0)
    return sums


def _generated(spent: Mapping[str, Any]) -> bool:
    return any(part["rows"] for part in spent.values() if isinstance(part, Mapping))


def _read(path: Path) -> dict[str, Any] | None:
    """None where no call left an account, or it is none."""
    try:
        known = read_json(path)
    except InputError:
        return None
    return known if isinstance(known, dict) and isinstance(known.get("seconds"), int | float) else None
