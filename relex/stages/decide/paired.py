"""Paired tests of two models over problems. Pure: arrays in, numbers out.

Notation: n problems, k samples a problem; c [n] how many of a problem's samples are right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


def sign_flip_p(differences: NDArray[np.int64]) -> float:
    """Exact one-sided p-value of the sum of paired integer differences [n] under random signs.

    The share of the 2^n sign assignments whose sum is at least the observed one, counted by convolution. With
    differences in {-1, 0, 1} this is the exact test of McNemar. Source: Fisher 1935, The Design of Experiments, 21.
    """
    sizes = np.abs(np.asarray(differences, dtype=np.int64))
    sizes = sizes[sizes > 0]
    total, observed = int(sizes.sum()), int(np.sum(differences))
    # distribution[j]: probability that the flipped-to-plus sizes sum to j; the signed sum is then 2 j - total.
    distribution = np.zeros(total + 1)
    distribution[0] = 1.0
    for size in sizes:
        shifted = np.zeros_like(distribution)
        shifted[size:] = distribution[: total + 1 - size]
        distribution = (distribution + shifted) / 2
    return float(min(1.0, distribution[(observed + total) // 2 :].sum()))


@dataclass(frozen=True)
class PairedTest:
    """One-sided paired comparison of two models on the same problems.

    gain: mean difference of the share of right samples. low, high: bootstrap interval of confidence 1 - 2 * level.
    p_value: the larger of the exact sign-flip test's and the bootstrap's.
    """

    gain: float
    low: float
    high: float
    p_value: float


def paired_test(
    ours: NDArray[np.int64], theirs: NDArray[np.int64], samples: int, level: float, resamples: int, seed: int
) -> PairedTest:
    """Compare right answers per problem, `ours` and `theirs` [n], out of `samples` each; both in the same order."""
    differences = np.asarray(ours, dtype=np.int64) - np.asarray(theirs, dtype=np.int64)
    # Resampling n problems is a multinomial draw over the few distinct differences: the same distribution, faster.
    distinct, counts = np.unique(differences, return_counts=True)
    n = len(differences)
    draws = np.random.default_rng(seed).multinomial(n, counts / n, size=resamples)
    means = draws @ distinct / (n * samples)
    low, high = np.quantile(means, [level, 1 - level])
    # Adding one to both counts keeps a resampled p-value from ever being 0 (Davison and Hinkley 1997, 4.2).
    bootstrap = (1 + int((means <= 0).sum())) / (1 + resamples)
    return PairedTest(
        gain=float(differences.mean() / samples),
        low=float(low),
        high=float(high),
        p_value=max(bootstrap, sign_flip_p(differences)),
    )
