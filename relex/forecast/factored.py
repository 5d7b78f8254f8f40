"""Weighted sums written as amounts along few directions that they share. Pure."""

from __future__ import annotations

import numpy as np

from relex.forecast.subspace import Array

_NOTHING = 1e-12  # of the largest singular value: weights are float64, and a few operations from exact


def factored(weights: Array) -> tuple[Array, Array]:
    """amounts [K, R] and directions [R, T] with weights [K, T] = amounts directions, of the smallest R.

    The singular value decomposition, so that the directions are orthonormal. Forecasts of one ray for several targets
    are of rank one or two, whatever K is: a line's are multiples of each other, and those from another anchor have it
    in common. Weights of zero have no directions.
    """
    left, sizes, directions = np.linalg.svd(np.asarray(weights, np.float64), full_matrices=False)
    rank = int((sizes > _NOTHING * sizes[0]).sum()) if len(sizes) and sizes[0] > 0 else 0
    return left[:, :rank] * sizes[:rank], np.ascontiguousarray(directions[:rank])
