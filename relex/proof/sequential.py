"""One paired test over several looks, with a stop for success and one for futility. Pure.

Each look spends a part of the level; the parts add up to it, so that by Boole's inequality the test is wrong with at
most its level, whatever the looks' correlation. What is spent by a share f of the rows is level * f^1.5 (the power
family of spending functions, Kim and DeMets 1987): docs/calibration.md compares it with others at equal error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from scipy.special import stdtrit

from relex.proof.answers import Answers
from relex.proof.paired import Difference, difference, exact_p

Ended = Literal["proven", "futile", "spent"]
_POWER = 1.5
OPTIMISM = 1.7  # chosen in docs/calibration.md: a smaller one saves rows and costs power


@dataclass(frozen=True)
class Step:
    """share: of the most rows, by this look; before: by the look before, 0 at the first."""

    share: float
    before: float


@dataclass(frozen=True)
class Judgement:
    """level: what this look could spend. ended: None where another look is worth it."""

    found: Difference
    level: float
    ended: Ended | None


def spent(level: float, step: Step) -> float:
    """The part of the level that a look may spend."""
    return level * (step.share**_POWER - step.before**_POWER)


@dataclass(frozen=True)
class SequentialTest:
    """That one model is better than another by more than `margin`, at `level` over all looks, `last` being the last.

    optimism: standard errors that the gain may still grow by before the test is called futile.
    """

    margin: float
    level: float
    last: Step
    optimism: float = OPTIMISM

    def judge(self, ours: Answers, theirs: Answers, step: Step) -> Judgement:
        """At this look. For a margin of 0 or more the exact sign-flip test must agree with Student's.

        Futile: if the gain turned out `optimism` standard errors larger than it is, and the error fell as with
        independent rows, the last look would still not prove it.
        """
        now = spent(self.level, step)
        found = difference(ours, theirs, self.margin, now)
        if self.margin >= 0 and found.p_value <= now:
            found = replace(found, p_value=max(found.p_value, exact_p(ours, theirs)))
        if found.p_value <= now:
            return Judgement(found, now, "proven")
        if step == self.last:
            return Judgement(found, now, "spent")
        hoped = found.gain + self.optimism * found.error
        quantile = float(stdtrit(max(len(ours.right) - 1, 1), 1 - spent(self.level, self.last)))
        needed = quantile * found.error * step.share**0.5
        return Judgement(found, now, "futile" if hoped - self.margin < needed else None)
