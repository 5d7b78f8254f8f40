"""What difference the gate can detect, before anything runs. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from scipy.optimize import brentq
from scipy.stats import multivariate_normal, norm

from relex.stages.decide.gate import corrected_level
from relex.stages.decide.params import Decide
from relex.stages.evaluate.suites.params import SplitSource
from relex.stages.evaluate.suites.sampling import Defaults, resolve

# Before a run nobody knows how hard the problems are. Probabilities p of a right sample drawn from Beta(1/2, 1/2), many
# hard and many easy problems, are what evaluations of this kind show. Its moments:
_MEAN_VARIANCE = 1 / 8  # of p (1 - p)
_MEAN_ROOM = 3 / 8  # of (1 - p)^2
POWER = 0.8


@dataclass(frozen=True)
class Detectable:
    """gain: the true gain, as a share of right samples, that passes the gate's test in a share `power` of nights."""

    problems: int
    samples: int
    level: float
    power: float
    gain: float

    def __str__(self) -> str:
        return (
            f"with {self.problems} problems at the gate and k={self.samples} a gain of {100 * self.gain:+.1f} points "
            f"is detected in {self.power:.0%} of nights"
        )


def standard_error(problems: int, samples: int, gain: float) -> float:
    """Of the difference of two models' avg@k, n problems with k samples, when one is better by `gain`.

    The gain moves each p by 2 gain (1 - p), most where there is most room: then the better model's mean of p (1 - p)
    is (1 - 2 gain) (1/8 + 2 gain 3/8), and the true differences have the variance 4 gain^2 / 8.
    """
    better = (1 - 2 * gain) * (_MEAN_VARIANCE + 2 * gain * _MEAN_ROOM)
    variance = (_MEAN_VARIANCE + better) / samples + 4 * gain**2 * _MEAN_VARIANCE
    return float((variance / problems) ** 0.5)


def detectable_gain(problems: int, samples: int, level: float, min_gain: float, power: float = POWER) -> float:
    """The smallest true gain, over two equally good opponents, that passes with probability `power`; at most 1/2.

    level: one-sided, of each test. The estimated gain must reach the level's quantile, and min_gain. Both opponents
    must be beaten; the two differences share the candidate's noise, so their correlation is about 1/2.
    """
    both = multivariate_normal(mean=[0.0, 0.0], cov=[[1.0, 0.5], [0.5, 1.0]])
    margin = brentq(lambda z: both.cdf([z, z]) - power, -8.0, 8.0)

    def missing(gain: float) -> float:
        error = standard_error(problems, samples, gain)
        return max(norm.isf(level) * error, min_gain) + margin * error - gain

    return 0.5 if missing(0.5) > 0 else float(brentq(missing, 0.0, 0.5))


def detectable(decide: Decide, evaluate: Defaults, validation: int) -> Detectable | None:
    """For splits of `validation` problems; None when the gate also holds suites whose size is not known here."""
    suites = [suite for suite in evaluate.suites if suite.role == "validation"]
    if not all(isinstance(suite.source, SplitSource) for suite in suites):
        return None
    total, drawn = 0, set()
    for suite in suites:
        size = min(validation, suite.limit or validation)
        total += min(max(round(size * evaluate.gate_share), 1), size - 1)
        drawn.add(resolve(suite, evaluate).samples)
    level = corrected_level(decide.alpha, decide.finalists)
    samples = min(drawn)
    return Detectable(total, samples, level, POWER, detectable_gain(total, samples, level, decide.min_gain))
