"""The race of the candidates on the choosing problems. Pure: what a look shows, and who leaves after it.

The race costs no level: the gate's problems are others. It is there to spend few rows on what is clearly worse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from relex.proof.answers import Answers
from relex.proof.paired import difference, share

LEVEL = 0.05  # one-sided, of each comparison at each look


@dataclass(frozen=True)
class Standing:
    """A model as its last look showed it. left: number of the look after which it left, from 1; None: it stayed."""

    share: float
    low: float
    high: float
    problems: int
    samples: int
    left: int | None = None


def behind(answers: Mapping[str, Answers]) -> set[str]:
    """Those credibly worse than the best one."""
    best = max(answers, key=lambda name: float(answers[name].right.mean()))
    return {
        name for name, found in answers.items() if name != best and difference(answers[best], found, 0.0, LEVEL).low > 0
    }


def equivalent(answers: Mapping[str, Answers], tolerance: float) -> bool:
    """Whether no model is better than another by more than `tolerance`, credibly."""
    best = max(answers, key=lambda name: float(answers[name].right.mean()))
    return all(
        difference(answers[best], found, 0.0, LEVEL).high <= tolerance
        for name, found in answers.items()
        if name != best
    )


def standing(answers: Answers, problems: int, samples: int) -> Standing:
    """Share of right samples with its interval of 1 - 2 LEVEL."""
    found = share(answers, LEVEL)
    return Standing(found.gain, found.low, found.high, problems, samples)
