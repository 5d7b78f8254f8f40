"""What a campaign saved against true RLVR, proof included: the numbers that the page says in a sentence. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from relex.ledger.true_rlvr import Curve, reached
from relex.stages.report.campaign import Campaign


@dataclass(frozen=True)
class Saved:
    """right: share of right test samples of the model in force after the present hop. steps, seconds: what the campaign
    took to it, seconds of all stages but the base's making. first, last: right of the curve at its first and last
    point; to: where the curve ends, and there: where it first reaches `right`, as (steps, seconds), None for never."""

    right: float
    steps: int
    seconds: float
    first: float
    last: float
    to: tuple[float, float]
    there: tuple[float, float] | None

    @property
    def nothing_gained(self) -> bool:
        """Whether the model is no better than what true RLVR begins with."""
        return self.right <= self.first

    @property
    def times(self) -> float:
        """How many times fewer steps the campaign took, as the page shows it; more than so many where `there` is
        None."""
        found = 10 * (self.there or self.to)[0] / self.steps
        return (round(found) if self.there else math.floor(found)) / 10

    @property
    def percent(self) -> int:
        """The campaign's seconds in percent of true RLVR's, as the page shows it; less than so many where `there` is
        None."""
        found = 100 * self.seconds / (self.there or self.to)[1]
        return round(found) if self.there else math.ceil(found)

    @property
    def something(self) -> bool:
        """Whether the campaign took fewer steps, and with its proof fewer seconds."""
        return not self.nothing_gained and self.times > 1.0 and self.percent < 100.0


def saved(campaign: Campaign, curve: Curve) -> Saved | None:
    """None where the model in force was not asked the suite `test`, or nothing was trained for it."""
    present = campaign.lines[-1]
    if "test" not in present.right or not present.total.steps:
        return None
    right, first, last = present.right["test"].value, curve.points[0], curve.points[-1]
    return Saved(
        right=right,
        steps=present.total.steps,
        seconds=present.total.seconds_from_base,
        first=first.test.value,
        last=last.test.value,
        to=(last.step, last.seconds),
        there=reached(curve.points, right),
    )
