"""How many rows each part of the proof asked for. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable


class Spending:
    """Rows by purpose; what was asked before, for whatever purpose and under whatever name of a model, costs nothing.

    rows: purpose -> rows. Every ask for a suite holds those before it or is held by one of them, since samples come
    after problems.
    """

    def __init__(self) -> None:
        self.rows: Counter[str] = Counter()
        self._had: dict[tuple[str, str], int] = {}  # (identity, suite) -> rows

    def add(self, purpose: str, identities: Iterable[str], asked: Iterable[tuple[str, int, int]]) -> None:
        """An ask. identities: hashes of the models. asked: (suite, problems, samples)."""
        asked = list(asked)
        for identity in identities:
            for suite, problems, samples in asked:
                had = self._had.get((identity, suite), 0)
                new = max(0, problems * samples - had)
                self.rows[purpose] += new
                self._had[identity, suite] = had + new
