"""The held-out-step backtest in weight space: fit on the first k observed steps, forecast the later ones. Pure.

Every quantity follows from the Gram matrices: with predicted weights w (zero beyond the first k) and e_j the j-th
unit vector, |forecast - true|^2 = (w - e_j)^T G (w - e_j), and |last observed - true|^2 = (e_k - e_j)^T G (e_k - e_j).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from relex.forecast.subspace import Array
from relex.forecast.weights import Forecast, weights


@dataclass(frozen=True)
class Held:
    """One backtest: fitted on the first `fitted` observed steps; forecast [J] later steps.

    error and stay [N, J]: squared distance to the true checkpoint, of the forecast and of staying at the last fitted
    step, per tensor (rows in the order of `names`).
    """

    fitted: int
    steps: tuple[int, ...]
    names: tuple[str, ...]
    error: Array
    stay: Array

    def skill(self) -> Array:
        """skill [J] = 1 - sum |forecast - true|^2 / sum |last - true|^2 over all tensors; 1 is perfect, 0 is no
        better than staying, below 0 is worse."""
        return skill(self.error.sum(axis=0), self.stay.sum(axis=0))

    def tensor_skill(self) -> Array:
        """skill [N, J] per tensor."""
        return skill(self.error, self.stay)


def skill(error: Array, stay: Array) -> Array:
    """1 - error / stay, elementwise; 0 where the true weights did not move (then staying is right as well)."""
    moved = stay > 0
    return np.where(moved, 1.0 - error / np.where(moved, stay, 1.0), 0.0)


def fitted_counts(total: int, shares: Sequence[float]) -> list[int]:
    """How many first steps each share of a window of `total` means: at least 2, at most total - 1, distinct."""
    return sorted({min(max(round(share * total), 2), total - 1) for share in shares}) if total > 2 else []


def held_out_weights(gram: Array, steps: Sequence[int], fitted: int, how: Forecast) -> Array:
    """w [J, T] of one tensor: forecasts of steps[fitted:] from steps[:fitted]; what needs more steps is cut to fit."""
    rank = how.rank if how.rank == "full" else min(how.rank, fitted)
    degree, mean = min(how.degree, fitted - 1), min(how.anchor_mean, fitted)
    how = replace(how, rank=rank, degree=degree, anchor_mean=mean, mode="extrapolate", shrink=0.0)
    later = list(steps[fitted:])
    found = np.zeros((len(later), len(steps)))
    found[:, :fitted] = weights(gram[:fitted, :fitted], steps[:fitted], later, how)
    return found


def held_out(grams: Mapping[str, Array], steps: Sequence[int], fitted: int, how: Forecast) -> Held:
    """Fit on steps[:fitted], forecast steps[fitted:]. grams[name] [T, T] float64."""
    later = list(steps[fitted:])
    error, stay = np.zeros((len(grams), len(later))), np.zeros((len(grams), len(later)))
    for row, gram in enumerate(grams.values()):
        found = held_out_weights(gram, steps, fitted, how)
        last = np.eye(len(steps))[fitted - 1]
        for at in range(len(later)):
            true = np.eye(len(steps))[fitted + at]
            error[row, at] = max((found[at] - true) @ gram @ (found[at] - true), 0.0)
            stay[row, at] = max((last - true) @ gram @ (last - true), 0.0)
    return Held(fitted, tuple(later), tuple(grams), error, stay)
