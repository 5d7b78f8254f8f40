"""Paired comparisons of two models over problems. Pure: arrays in, numbers out.

Notation: n problems, k samples a problem; d [n] the differences of the shares of right samples.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from relex.proof.answers import Answers

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """Of two models on the same n problems. gain: mean of d. error: its standard error. p_value: one-sided, of a true
    gain that is at most the margin. low, high: an interval that misses the true gain with probability `level` at either
    end."""

    gain: float
    error: float
    p_value: float
    low: float
    high: float


def difference(ours: Answers, theirs: Answers, margin: float, level: float) -> Difference:
    """Compare two models that were asked alike. margin: gain to exceed, negative for a loss that is still allowed.

    Student's t over problems, which are what was drawn: samples of one problem are one cluster. To the squares that
    the spread is made of come 2/k^2, two problems that differ by one sample: otherwise a few problems that all differ
    alike, or not at all, would seem certain. For an allowed loss it is at least one whole problem lost, since what is
    to be excluded is a loss that these few problems happen not to show.
    """
    unseen = 2.0 / min(ours.samples, theirs.samples) ** 2
    return _mean(ours.right - theirs.right, margin, max(unseen, 1.0) if margin < 0 else unseen, level)


def share(answers: Answers, level: float) -> Difference:
    """One model's share of right samples as its difference from nothing right."""
    found = _mean(answers.right, 0.0, 2.0 / answers.samples**2, level)
    return replace(found, low=max(0.0, found.low))


def mean_and_error(values: Floats, unseen: float) -> tuple[Floats, Floats]:
    """Of values [..., n] of n problems, n at least 2: their means [...] and the standard errors of these [...].

    unseen: what comes to the squares that the spread of the values is made of.
    """
    n = values.shape[-1]
    mean = values.mean(axis=-1)
    squares = np.square(values - mean[..., None]).sum(axis=-1)
    return mean, np.sqrt((squares + unseen) / (n - 1) / n)


def _mean(values: Floats, margin: float, unseen: float, level: float) -> Difference:
    """unseen: see mean_and_error. values: [n]."""
    n = len(values)
    if n < 2:
        return Difference(float(values.mean()), float("inf"), 1.0, -1.0, 1.0)
    gain, error = (float(found) for found in mean_and_error(values, unseen))
    reach = float(stdtrit(n - 1, 1 - level)) * error
    p_value = float(stdtr(n - 1, (margin - gain) / error))
    return Difference(gain, error, p_value, max(-1.0, gain - reach), min(1.0, gain + reach))


def exact_p(ours: Answers, theirs: Answers) -> float:
    """The sign-flip test's p-value of a true gain of at most 0."""
    samples = int(np.lcm(ours.samples, theirs.samples))
    return sign_flip_p(ours.counts * (samples // ours.samples) - theirs.counts * (samples // theirs.samples))


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
