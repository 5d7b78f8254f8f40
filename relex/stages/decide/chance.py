"""Whether a simulated night could promote at all: where it could not, it need not be played.

A night is played wherever a challenger beats whom it must beat by Student's test at some look that there could be,
whoever would lead and whenever the policy would stop: what the policy promotes is among these, without exception.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from relex.proof.paired import mean_and_error
from relex.proof.rounds import Look
from relex.proof.rules import Rules
from relex.proof.sequential import Step, spent

Counts = NDArray[np.unsignedinteger]
Truths = NDArray[np.bool_]
_ROUNDING = 1e-6  # a challenger so near to a bar is left to the policy


@dataclass(frozen=True)
class _Bar:
    """Of a look with so many samples: Student's quantiles that leader and fallback must reach."""

    samples: int
    leader: float
    fallback: float


class Chance:
    """Of nights with these looks at one suite, under these rules."""

    def __init__(self, looks: Sequence[Look], rules: Rules):
        self._margin, before = rules.min_gain, 0.0
        self._bars: dict[int, list[_Bar]] = {}  # by the looks' problems
        for look in looks:
            [(_, problems, samples)] = look.asked
            step, before = Step(look.share, before), look.share
            if problems < 2:
                continue  # one problem proves nothing
            leader, fallback = (
                float(stdtrit(problems - 1, 1 - spent(level, step))) for level in (rules.alpha, rules.fallback_level)
            )
            self._bars.setdefault(problems, []).append(_Bar(samples, leader, fallback))

    def any(self, champion: Counts, challengers: Counts) -> bool:
        """Right samples of the first 1, 2, ... samples of each problem. champion: [samples, n]. challengers: the last
        observed checkpoint, then the candidates [samples, models, n]."""
        leader, fallback = self._proven(champion, challengers)
        if fallback[0]:
            return True
        some = np.flatnonzero(leader[1:]) + 1
        return bool(some.size and self._proven(challengers[:, 0], challengers[:, some])[0].any())

    def _proven(self, other: Counts, ours: Counts) -> tuple[Truths, Truths]:
        """Which of ours [samples, models, n] beats the other [samples, n] at some look, as leader and as fallback."""
        leader, fallback = np.zeros((2, ours.shape[1]), dtype=bool)
        for problems, bars in self._bars.items():
            samples = np.array([bar.samples for bar in bars])
            rows = ours[samples - 1, :, :problems].astype(np.float64) - other[samples - 1, None, :problems]
            share = 1.0 / samples[:, None]
            gain, error = mean_and_error(rows, 2.0)  # in samples: the one sample that a problem may differ by is 1
            above = (gain * share - self._margin) / (error * share) * (1 + _ROUNDING) + _ROUNDING
            leader |= (above >= [[bar.leader] for bar in bars]).any(axis=0)
            fallback |= (above >= [[bar.fallback] for bar in bars]).any(axis=0)
        return leader, fallback
