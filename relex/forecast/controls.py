"""Controls: what a candidate should beat, if the forecast is worth anything. Pure.

Each goes, tensor by tensor, as far from theta_0 as the forecast does, in a direction that takes no window to find. So
how far a tensor goes is the forecast's and only where to is the control's; updates made small by a warm-up are no
handicap.
"""

from __future__ import annotations

import numpy as np

from relex.forecast.directed import Directed
from relex.forecast.subspace import Array

FIRST, MEAN = 1, 3  # updates that are amplified


def lengths(gram: Array, weights: Array) -> Array:
    """|sum_i w_i delta_i| [K] of weights [K, T]."""
    return np.sqrt(np.clip(np.einsum("kt,ts,ks->k", weights, gram, weights), 0.0, None))


def amplified(gram: Array, updates: int, far: Array) -> Directed:
    """The mean of a tensor's first `updates` updates, times what makes it `far` [K] long.

    The first update is the first one that moved the tensor: under a warm-up the optimiser's first step has no length.
    Updates sum up, so that the mean of the first n points where the n-th delta does. Where the window holds fewer, it
    is the mean of those it holds.
    """
    moved = np.flatnonzero(np.diag(gram) > 0)
    row = np.zeros((len(far), len(gram)))
    if not len(moved):
        return Directed.plain(row)
    at = moved[min(updates, len(moved)) - 1]
    row[:, at] = 1.0
    return Directed.along(far / np.sqrt(gram[at, at]), row)
