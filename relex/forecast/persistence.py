"""Update persistence: whether updates go on pointing where earlier ones pointed. Pure; it follows from a Gram matrix.

An update is the change from one observed checkpoint to the next, the first one from theta_0. A random walk's updates
are independent: their expected cosines are 0, and updates of lengths l get sqrt(sum l^2) far on a way of sum l.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from relex.forecast.subspace import Array

GAPS = (1, 3, 10, 30)  # updates apart


def update_gram(gram: Array) -> Array:
    """Inner products [T, T] of the updates, from those of the deltas."""
    return np.diff(np.diff(np.pad(gram, ((1, 0), (1, 0))), axis=0), axis=1)


def persistence(gram: Array, gaps: Sequence[int] = GAPS) -> dict[str, Any]:
    """Of the deltas' Gram matrix [T, T], all tensors together.

    cosine: mean cosine of updates that lie so many `gaps` apart, null_cosine that of a random walk; None where no two
    do. straight: length of the last observed delta over the length of the way there, in [0, 1]; null_straight: that of
    a random walk with updates as long (root mean square). None where nothing moved. Updates without length count for
    nothing.
    """
    inner = update_gram(gram)
    lengths = np.sqrt(np.clip(np.diag(inner), 0.0, None))
    moved = np.flatnonzero(lengths)
    cosines = np.full(inner.shape, np.nan)
    cosines[np.ix_(moved, moved)] = inner[np.ix_(moved, moved)] / np.outer(lengths[moved], lengths[moved])
    series = [np.diag(cosines, gap) for gap in gaps]
    found = [part[np.isfinite(part)] for part in series]
    way, far = float(lengths.sum()), float(np.sqrt(max(gram[-1, -1], 0.0)))
    return {
        "gaps": list(gaps),
        "pairs": [len(part) for part in found],
        "cosine": [float(part.mean()) if len(part) else None for part in found],
        "null_cosine": 0.0,
        "straight": far / way if way else None,
        "null_straight": float(np.sqrt(np.square(lengths).sum())) / way if way else None,
    }
