"""What is left of the level where the gate's problems were looked at by earlier nights. Pure.

The n-th look at the same problems may spend alpha / n^2, whatever came of the looks before. Over any number of looks
the levels add up to less than alpha * pi^2 / 6, so that by Boole's inequality all of them together promote without a
gain in less than 1.65 alpha of campaigns, however much the nights depend on each other through rows that they share. A
test that must beat two opponents spends less than it may: docs/calibration.md measures how often the champion moves.
"""

from __future__ import annotations

import math

LARGEST_SUM = math.pi**2 / 6  # of the shares of the level, over looks without end


def share_of_level(look: int) -> float:
    """Of the level, what the look of this number (from 1) at the same problems may spend, in (0, 1].

    ValueError for a number below 1.
    """
    if look < 1:
        raise ValueError(f"looks are counted from 1: {look}")
    return 1.0 / look**2
