"""How a series of coefficients is continued: one function and one entry of FITS a fit. Pure.

Every fit is scale-equivariant, fit(s u) = s fit(u), which weights.py relies on: it never divides by a singular value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from relex.forecast.subspace import Array

Row = Callable[[Array, float, int], Array]  # (steps [T], target, degree) -> h [T] with f(u) = h^T u
Series = Callable[[Array, Array, float], float]  # (steps [T], values [T], target) -> value at the target
Whole = Callable[[Array, float], tuple[float, Array]]  # (steps [T], target) -> amount, direction [T]


@dataclass(frozen=True)
class Fit:
    """One way of continuing; exactly one of row, series and whole is given.

    row: a fit that is linear in the values. series: one that is not, and so needs coefficients (a rank). whole: the
    weights of the sum themselves, never projected. least: how many steps it needs, by the degree.
    """

    row: Row | None = None
    series: Series | None = None
    whole: Whole | None = None
    least: Callable[[int], int] = lambda degree: 2

    def value(self, steps: Array, values: Array, target: float, degree: int) -> float:
        """f(u): the fitted value of one series at the target."""
        if self.series is not None:
            return self.series(steps, values, target)
        assert self.row is not None
        return float(self.row(steps, target, degree) @ values)


def line_weights(steps: Array, target: float, degree: int = 1) -> Array:
    """h [T] with f(u) = h^T u: value at `target` of the least-squares polynomial with intercept through (steps, u).

    steps [T] strictly rising, in optimiser steps; degree < T. Through a QR factorisation of the powers of steps
    moved and scaled to [-1, 1], which keeps far targets and high degrees well conditioned.
    """
    centre, half = (steps[0] + steps[-1]) / 2, (steps[-1] - steps[0]) / 2
    powers = np.vander((steps - centre) / half, degree + 1)
    q, r = np.linalg.qr(powers)
    at_target = np.vander([(target - centre) / half], degree + 1)[0]
    return q @ np.linalg.solve(r.T, at_target)


def sinusoid(steps: Array, values: Array, target: float) -> float:
    """Value at `target` of a + b sin(wt) + c cos(wt), least squares in a, b, c, w.

    w by variable projection: the residual over a grid of angular frequencies, periods from twice the mean spacing
    to four windows, then a bounded search around the best of the grid.
    """
    span = steps[-1] - steps[0]
    time = (steps - steps[0]) / span
    highest = np.pi * (len(steps) - 1)
    grid = np.geomspace(np.pi / 2, max(highest, np.pi), 200)

    def solve(frequency: float) -> tuple[Array, float]:
        design = np.stack([np.ones_like(time), np.sin(frequency * time), np.cos(frequency * time)], axis=1)
        solution, *_ = np.linalg.lstsq(design, values, rcond=1e-10)
        return solution, float(np.sum((design @ solution - values) ** 2))

    best = int(np.argmin([solve(frequency)[1] for frequency in grid]))
    bounds = (grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)])
    from scipy.optimize import minimize_scalar  # half a second, which every command would pay that reads params.yaml

    frequency = float(minimize_scalar(lambda w: solve(w)[1], bounds=bounds, method="bounded").x)
    (offset, sine, cosine), _ = solve(frequency)
    at = frequency * (target - steps[0]) / span
    return float(offset + sine * np.sin(at) + cosine * np.cos(at))


def two_point(steps: Array, target: float) -> tuple[float, Array]:
    """theta_0 + a (theta_T - theta_0) with a = target / t_T."""
    return float(target / steps[-1]), np.eye(len(steps))[-1]


FITS: Mapping[str, Fit] = {
    "linear": Fit(row=lambda steps, target, degree: line_weights(steps, target)),
    "polynomial": Fit(row=line_weights, least=lambda degree: degree + 1),
    "sinusoid": Fit(series=sinusoid, least=lambda degree: 4),
    "two-point": Fit(whole=two_point),
}
