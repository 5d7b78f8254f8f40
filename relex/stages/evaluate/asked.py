"""What has been asked of each model, and what came of it: rows and tokens by part, and marks for the proof."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from relex.proof.answers import Marks
from relex.stages.evaluate.contestants import Contestant
from relex.stages.evaluate.row_store import RowStore
from relex.stages.evaluate.schema import flags
from relex.stages.evaluate.suites.suite import Suite

Rectangle = tuple[int, int]  # (first problems of a suite, samples of each)


class Asked:
    """A proof.answers.Source over the store.

    reached: (model, suite) -> the largest ask of it. All asks of a suite hold one another, since samples come after
    problems. rows, tokens: by purpose, as if no row had been there before tonight, so that they do not depend on it.
    """

    def __init__(self, store: RowStore, who: Callable[[str, Suite], Contestant], suites: Mapping[str, Suite]):
        """who: as whom a model answers a suite."""
        self._store, self._who, self._suites = store, who, suites
        self.reached: dict[tuple[str, str], Rectangle] = {}
        self.rows: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()
        self._had: dict[tuple[str, str], tuple[int, int]] = {}  # (identity, suite) -> rows, tokens
        self._tables: dict[tuple[str, str, int, int], pa.Table] = {}

    def table(self, model: str, suite: str, problems: int, samples: int) -> pa.Table:
        """Rows, schema CACHED, the samples of a problem side by side."""
        who = self._who(model, self._suites[suite])
        key = (who.model_sha256, suite, problems, samples)
        if key not in self._tables:
            asked = (who, self._suites[suite], problems, samples)
            self._tables = {k: v for k, v in self._tables.items() if k[:2] != key[:2]} | {key: self._store.rows(*asked)}
        return self._tables[key]

    def marks(self, model: str, suite: str, problems: int, samples: int) -> Marks:
        """See proof.answers.Source."""
        found = flags(self.table(model, suite, problems, samples), samples)
        right, cut, broken = (which.sum(axis=1) for which in found)
        return Marks(right, cut, broken, samples)

    def add(self, purpose: str, models: Iterable[str], asked: Iterable[tuple[str, int, int]]) -> None:
        """Rows that are in the store by now."""
        asked = list(asked)
        for model in models:
            for suite, problems, samples in asked:
                before = self.reached.get((model, suite), (0, 0))
                self.reached[model, suite] = max(before, (problems, samples), key=lambda one: one[0] * one[1])
                self._count(purpose, model, suite, problems, samples)

    def _count(self, purpose: str, model: str, suite: str, problems: int, samples: int) -> None:
        place = (self._who(model, self._suites[suite]).model_sha256, suite)
        rows, tokens = self._had.get(place, (0, 0))
        if problems * samples > rows:
            now = int(pc.sum(self.table(model, suite, problems, samples).column("tokens")).as_py())
            self.rows[purpose] += problems * samples - rows
            self.tokens[purpose] += now - tokens
            self._had[place] = (problems * samples, now)
