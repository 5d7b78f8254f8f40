"""What gain the gate can prove, before anything runs. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.optimize import brentq
from scipy.special import ndtr, ndtri, owens_t

from relex.proof.level_over_nights import rules_at
from relex.proof.plan import Plan
from relex.proof.roles import GATE
from relex.proof.rounds import Room, looks
from relex.proof.rules import Rules
from relex.proof.sequential import Step, spent

# Before a run nobody knows how hard the problems are. Probabilities p of a right sample drawn from Beta(1/2, 1/2), many
# hard and many easy problems, are what evaluations of this kind show. Its moments:
_MEAN_VARIANCE = 1 / 8  # of p (1 - p)
_MEAN_ROOM = 3 / 8  # of (1 - p)^2
POWER = 0.8
# Of the nights that the last look would prove, those that are not given up as futile before: measured by simulation
# (docs/calibration.md), .83 to .93 over 50 to 1,000 problems and 1 to 16 samples.
_KEPT = 0.87


@dataclass(frozen=True)
class Provable:
    """gain: the true gain, as a share of right samples, that passes the gate in a share `power` of nights.

    problems, samples: at the gate, samples of a problem at most.
    """

    problems: int
    samples: int
    power: float
    gain: float

    def __str__(self) -> str:
        return (
            f"with {self.problems} problems at the gate and up to {self.samples} samples of each, a gain of "
            f"{100 * self.gain:+.1f} points is proven in {self.power:.0%} of nights"
        )


def standard_error(problems: int, samples: int, gain: float) -> float:
    """Of the difference of two models' avg@k, n problems with k samples, when one is better by `gain`.

    The gain moves each p by 2 gain (1 - p), most where there is most room: then the better model's mean of p (1 - p)
    is (1 - 2 gain) (1/8 + 2 gain 3/8), and the true differences have the variance 4 gain^2 / 8.
    """
    better = (1 - 2 * gain) * (_MEAN_VARIANCE + 2 * gain * _MEAN_ROOM)
    variance = (_MEAN_VARIANCE + better) / samples + 4 * gain**2 * _MEAN_VARIANCE
    return float((variance / problems) ** 0.5)


def provable_gain(problems: int, samples: int, level: float, min_gain: float, power: float = POWER) -> float:
    """The smallest true gain, over two equally good opponents, that is proven with probability `power`; at most 1/2.

    level: what the one look at all samples may spend.
    Both opponents must be beaten; the two differences share the candidate's noise, so their correlation is about 1/2.
    """
    # Two standard normals of correlation r are below z together: Phi(z) - 2 T(z, sqrt((1 - r) / (1 + r))), T Owen's.
    margin = brentq(lambda z: ndtr(z) - 2 * owens_t(z, 3**-0.5) - power, -8.0, 8.0)

    def missing(gain: float) -> float:
        return min_gain + (margin - ndtri(level)) * standard_error(problems, samples, gain) - gain

    return 0.5 if missing(0.5) > 0 else float(brentq(missing, 0.0, 0.5))


def provable(rooms: Sequence[Room], plan: Plan, rules: Rules, power: float = POWER) -> Provable | None:
    """For a night's suites, as the last of the gate's looks alone would prove it, less what is given up before; None
    without problems at the gate."""
    gate = [room for room in rooms if room.role == GATE]
    played = looks(gate, plan.first, plan.gate)
    if not played:
        return None
    problems = sum(count for _, count, _ in played[-1].asked)
    samples = max(each for _, _, each in played[-1].asked)
    last = Step(1.0, played[-2].share if len(played) > 1 else 0.0)
    level = spent(rules_at(rules, plan.look).alpha, last)
    return Provable(problems, samples, power, provable_gain(problems, samples, level, rules.min_gain, power / _KEPT))


def problems_to_show_no_loss(rules: Rules) -> int:
    """The fewest problems out of domain that could show a loss of at most max_ood_loss, were none of them lost.

    Of n problems, none lost: a share of max_ood_loss would have hidden with probability (1 - max_ood_loss)^n.
    """
    if rules.max_ood_loss >= 1.0:
        return 1
    if rules.max_ood_loss <= 0.0:
        return 0  # no number of problems can: it takes a gain
    return math.ceil(math.log(rules.ood_alpha) / math.log(1 - rules.max_ood_loss))
