"""Weighted sums given as amounts along shared directions: many forecasts are one direction, gone along at different
lengths. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from relex.forecast.subspace import Array


@dataclass(frozen=True)
class Directed:
    """w_k = amounts[k] directions[which[k]]: directions [M, T] and amounts [K] float64, which [K] int64.

    Rounding makes a difference between (a d) x and a (d x). So what a sum is written as depends on that sum alone, and
    its bits do not depend on the others of its call.
    """

    directions: Array
    which: NDArray[np.int64]
    amounts: Array

    @classmethod
    def along(cls, amounts: Sequence[float] | Array, rows: Array) -> Directed:
        """amounts [K] along rows [K, T]; equal rows become one direction."""
        keys = [row.tobytes() for row in rows]
        unique = dict(zip(keys, rows, strict=True))
        places = {key: place for place, key in enumerate(unique)}
        which = np.array([places[key] for key in keys], np.int64)
        return cls(np.stack(list(unique.values())), which, np.asarray(amounts, np.float64))

    @classmethod
    def plain(cls, weights: Array) -> Directed:
        """Rows of weights [K, T] as they are."""
        return cls.along(np.ones(len(weights)), weights)

    @classmethod
    def joined(cls, parts: Sequence[Directed]) -> Directed:
        """The sums of all parts, in order."""
        rows = np.concatenate([part.directions[part.which] for part in parts])
        return cls.along(np.concatenate([part.amounts for part in parts]), rows)

    @property
    def dense(self) -> Array:
        """w [K, T]."""
        return self.amounts[:, None] * self.directions[self.which]

    def scaled(self, factors: Array) -> Directed:
        """factors[k] w_k."""
        return replace(self, amounts=self.amounts * factors)

    def from_row(self, row: Array, size: float) -> Directed:
        """row + size (w_k - row): `size` times as far from a sum `row` [T]; row itself where size is 0."""
        return self if size == 1.0 else Directed.plain(row + size * (self.dense - row))

    def mean(self) -> Directed:
        """The mean of all sums, as one."""
        if len(self.directions) == 1:
            return Directed.along([float(self.amounts.mean())], self.directions)
        return Directed.plain(self.dense.mean(axis=0)[None])

    def placed(self, rows: Sequence[int], count: int) -> Directed:
        """The same over a window of `count` steps of which these were its `rows`."""
        directions = np.zeros((len(self.directions), count))
        directions[:, rows] = self.directions
        return replace(self, directions=directions)

    def needed(self, together: int = 1) -> tuple[list[int], Directed]:
        """The steps that any direction needs (one at least), and the same over those steps alone.

        together: steps that are added up with each other before they come to the rest. All of such a group are needed
        with any one: a sum over the whole window is the same bits then. A single step is a group by itself.
        """
        count = self.directions.shape[1]
        used = np.flatnonzero(self.directions.any(axis=0)).tolist() or [0]
        if len(used) > 1:
            used = [step for step in range(count) if step // together in {one // together for one in used}]
        return used, replace(self, directions=np.ascontiguousarray(self.directions[:, used]))
