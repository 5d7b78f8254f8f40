"""Whether the first observed step can have been reached from the base that is named, by the pace of the later steps.

A base of the same shape that the run did not start from passes every check of names and sizes, and every delta then
holds the difference of two models. What gives it away is the pace: the first observed step lies farther from the base
than its optimiser steps can have carried it. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from relex.forecast.subspace import Array

# Times as far as the later steps account for. Ordinary runs stay below: a warm-up makes the first move shorter; Adam's
# first updates are of the whole rate, those of noise about a quarter of it (sqrt((1 - beta1) / (1 + beta1)) = 0.23 for
# beta1 = 0.9), hence 4 to 5 times; a schedule that has fallen to a tenth of its peak by the later steps, 10 times. An
# unrelated model of the same shape lies 1.4 times the weights' own length away; RLVR moves by some 1e-5 of it a step.
FAR = 20.0


def moves(gram: Array) -> tuple[float, list[float]]:
    """(length of the first delta, lengths of the moves between the observed steps) out of G [T, T] of the deltas."""
    squared = [gram[at, at] + gram[at + 1, at + 1] - 2 * gram[at, at + 1] for at in range(len(gram) - 1)]
    return math.sqrt(max(gram[0, 0], 0.0)), [float(np.sqrt(max(one, 0.0))) for one in squared]


def excess(first: float, later: Sequence[float], steps: Sequence[int]) -> float | None:
    """How many times as far the first observed step lies from the base as the later moves account for; None where the
    weights do not move later on.

    first: |theta_1 - theta_0|; later [J]: |theta_{i+1} - theta_i|; steps [J + 1]: the optimiser steps observed. A move
    over more steps is longer at most in their proportion (a line), and at least by its root (a walk): what is accounted
    for is the more generous of the two, by the fastest of the later moves.
    """
    allowed = 0.0
    for at, length in enumerate(later):
        ratio = steps[0] / (steps[at + 1] - steps[at])
        allowed = max(allowed, length * max(ratio, math.sqrt(ratio)))
    return first / allowed if allowed > 0 else None


def far_from_base(first: float, later: Sequence[float], steps: Sequence[int], base: object) -> str | None:
    """A warning where the first step lies FAR beyond; None where nothing speaks against the base."""
    found = excess(first, later, steps)
    if found is None or found <= FAR:
        return None
    return (
        f"WARNING: step {steps[0]} lies {found:,.0f} times as far from {base} as the moves between the later steps "
        f"account for (more than {FAR:g}): is that the model that the run started from? A forecast from another base "
        "of the same shape goes along the difference of two models"
    )
