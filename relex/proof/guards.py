"""Guards that need no opponent: answers that were cut off, and logits that are not numbers. Pure."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

State = Literal["passed", "failed", "open"]
_LEVEL = 0.05  # one-sided, of a share that is above its limit by more than chance


def cut_off(shares: NDArray[np.float64], limit: float, last: bool) -> State:
    """Whether the mean of `shares` [n], of each problem's answers that were cut off, keeps the limit.

    A share above the limit that chance explains is open, and worth more rows; at the last look the limit holds as it
    stands.
    """
    share, n = float(shares.mean()), len(shares)
    if share <= limit:
        return "passed"
    if last or n < 2:
        return "failed" if last else "open"
    error = float(np.sqrt((np.square(shares - share).sum() + limit * (1 - limit)) / (n - 1) / n))
    return "failed" if stdtr(n - 1, (limit - share) / error) <= _LEVEL else "open"
