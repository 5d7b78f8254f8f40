"""Accuracy of a model that was not asked anything, from what models around it were asked. Pure."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


class Estimate(NamedTuple):
    """right: by problem [P], the estimated share of right samples. effective: of all samples, as many as count."""

    right: Floats
    effective: float


def from_mixture(sampled: Floats, target: Floats, right: Floats, problems: Numbers) -> Estimate:
    """The target's share of right samples, out of samples of K other models.

    sampled [K, N]: log-likelihoods in nats of all N samples under each of the models that gave them, as many each, and
    target [N] under the model in question; right [N] in [0, 1]; problems [N]: numbers from 0, each with samples.
    Weights are p_target / (mean over k of p_k), normalised within a problem: the balance heuristic of Veach and Guibas
    1995, which MBAR (Shirts and Chodera 2008) is where the models' normalising constants are known, as those of
    language models are.
    """
    logs = target - (logsumexp(sampled, axis=0) - np.log(len(sampled)))
    count = int(problems.max()) + 1
    highest = np.full(count, -np.inf)
    np.maximum.at(highest, problems, logs)
    weights = np.exp(logs - highest[problems])
    total = np.bincount(problems, weights, count)
    effective = total**2 / np.bincount(problems, weights**2, count)
    return Estimate(
        right=np.bincount(problems, weights * right, count) / total,
        effective=float(np.mean(effective / np.bincount(problems, minlength=count))),
    )


def on_the_line(step: int, near: int, far: int, near_right: Floats, far_right: Floats) -> Floats:
    """Shares [P] at `step`, on a straight line in the logarithm of steps between those at `near` and `far`."""
    share = (np.log(step) - np.log(near)) / (np.log(far) - np.log(near))
    found: Floats = (1 - share) * near_right + share * far_right
    return found
