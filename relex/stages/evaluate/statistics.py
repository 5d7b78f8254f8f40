"""Estimators and paired tests over problems. Pure: arrays in, numbers out.

Notation: n problems, k samples a problem; c [n] how many of a problem's samples are right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

Floats = NDArray[np.float64]
_BLOCK = 1 << 22  # elements of a resampling matrix held at once


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval, in the estimate's unit."""

    value: float
    low: float
    high: float


def pass_at_k(correct: NDArray[np.int64], samples: int, k: int) -> Floats:
    """Unbiased pass@k per problem [n]: 1 - C(samples - c, k) / C(samples, k), for c = `correct` [n].

    Source: Chen et al. 2021, arXiv 2107.03374, equation 1. ValueError when k is not in 1..samples.
    """
    if not 1 <= k <= samples:
        raise ValueError(f"pass@{k} needs between 1 and {samples} samples")
    wrong = samples - np.asarray(correct, dtype=np.float64)
    possible = wrong >= k
    # log C(wrong, k) - log C(samples, k); the factor k! cancels.
    safe = np.where(possible, wrong, k)
    log = gammaln(safe + 1) - gammaln(safe - k + 1) - gammaln(samples + 1) + gammaln(samples - k + 1)
    return np.where(possible, 1.0 - np.exp(log), 1.0)


def resampled_means(values: Floats, resamples: int, seed: int) -> Floats:
    """Means of `resamples` bootstrap samples of the rows of `values` [n, m]; returns [resamples, m].

    The same seed and n resample the same rows, so columns of different calls are paired.
    """
    n = len(values)
    generator = np.random.default_rng(seed)
    block = max(1, _BLOCK // n)
    parts = []
    for start in range(0, resamples, block):
        counts = generator.multinomial(n, np.full(n, 1.0 / n), size=min(block, resamples - start))
        parts.append(counts @ values / n)
    return np.concatenate(parts)


def bootstrap_intervals(values: Floats, confidence: float, resamples: int, seed: int) -> list[Interval]:
    """Percentile bootstrap over problems for the mean of each column of `values` [n, m]."""
    means = resampled_means(values, resamples, seed)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return [Interval(float(v), float(a), float(b)) for v, a, b in zip(values.mean(axis=0), low, high, strict=True)]
