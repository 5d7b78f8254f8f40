"""How straight a window is: explained share, R^2, drift of the direction. Pure; everything follows from Gram matrices.

None of these predicts a good forecast (both were high in runs whose forecasts failed), and a walk without any
direction scores high as well: show random_walk() beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from relex.forecast.fits import line_weights
from relex.forecast.subspace import Array, cosine, explained_share, spectrum
from relex.forecast.weights import r_squared, slope_weights

DRAWN = 6  # tensors, by energy, whose rank-1 coefficients are written out
RANKS = 10  # explained shares written out


def random_walk(steps: Sequence[int]) -> Array:
    """Expected Gram matrix [T, T] of a walk without direction, observed at `steps`: G_ij = min(t_i, t_j)."""
    time = np.asarray(steps, dtype=np.float64)
    return np.minimum(time[:, None], time[None, :])


def straightness(found: Mapping[str, Array], steps: Sequence[int]) -> dict[str, Any]:
    """Explained share by rank, R^2 of the rank-1 coefficients and drift, each weighted by the tensors' energy.

    drift: cosine between the direction of the window's first half and that of its second half; 1 is straight.
    """
    time = np.asarray(steps, dtype=np.float64)
    energy = np.array([np.trace(gram) for gram in found.values()])
    share = energy / energy.sum() if energy.sum() > 0 else np.full(len(energy), 1.0 / len(energy))
    decomposed = [spectrum(gram) for gram in found.values()]
    shares = np.array([explained_share(part.sigma) for part in decomposed])
    return {
        "explained_share": (share @ shares)[:RANKS].tolist(),
        "r_squared": float(share @ [r_squared(time, part.modes[:, 0]) for part in decomposed]),
        "drift": float(share @ [drift(gram, time) for gram in found.values()]),
        "sigma": spectrum(sum(found.values(), np.zeros((len(time), len(time))))).sigma.tolist(),
    }


def drift(gram: Array, time: Array) -> float:
    """Cosine between the least-squares slopes of the window's two halves (the middle step belongs to both)."""
    middle = len(time) // 2
    first, second = np.zeros(len(time)), np.zeros(len(time))
    first[: middle + 1] = slope_weights(time[: middle + 1])
    second[min(middle, len(time) - 2) :] = slope_weights(time[min(middle, len(time) - 2) :])
    return cosine(gram, first, second)


def coefficient_lines(found: Mapping[str, Array], steps: Sequence[int], targets: Sequence[int]) -> list[dict[str, Any]]:
    """Rank-1 coefficient against step with its fitted line, for all tensors together and for the largest ones.

    `observed` [T] in units of weight (s_1 u_1); `line` at the first and last step; `forecast` [step, value].
    """
    time = np.asarray(steps, dtype=np.float64)
    whole = sum(found.values(), np.zeros((len(time), len(time))))
    largest = sorted(found, key=lambda name: -np.trace(found[name]))[:DRAWN]
    rows = []
    for name, gram in [("all tensors", whole), *((name, found[name]) for name in largest)]:
        sigma, modes = spectrum(gram)
        series = sigma[0] * modes[:, 0]
        rows.append(
            {
                "name": name,
                "observed": series.tolist(),
                "line": [[step, float(line_weights(time, step) @ series)] for step in (steps[0], steps[-1])],
                "forecast": [[step, float(line_weights(time, step) @ series)] for step in targets],
                "r_squared": r_squared(time, series),
            }
        )
    return rows
