"""From coefficients against true steps to the weights of a weighted sum of deltas. Pure.

With M = U diag(s) V^T (subspace.py), a predicted delta is V_r c*, where c*_k is the fit of the coefficient series
s_k u_k at the target. Every fit of fits.py is scale-equivariant: fit(s u) = s fit(u). So with f the fit at the target,

    theta_target = theta_0 + sum_i w_i delta_i,    w = sum_{k<=r} u_k f(u_k)    [T]

and no singular value is ever divided by: directions without energy do no harm. For fits that are linear in the data,
f(u) = h^T u, this is w = U_r U_r^T h; the unprojected line (`full`) is w = h.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from relex.core.choices import Anchor, Fit, Mode
from relex.forecast.directed import Directed
from relex.forecast.fits import FITS
from relex.forecast.subspace import Array, spectrum

Rank = int | Literal["full"]


@dataclass(frozen=True)
class Forecast:
    """What is predicted from a Gram matrix, the same for every tensor. Names are those of `relex extrapolate`.

    mode: extrapolate (fit, later step), reconstruct (project the observed delta, no fit), fit-reconstruct (fit,
    observed step). two-point is theta_0 + a (theta_T - theta_0) with a = target / t_T, and is never projected.
    anchor `last` adds the fitted change since the last observed step to what was observed there; anchor_mean k > 1: the
    fitted change since the last k steps, in their mean, to their mean. autoregressive: the fit predicts this
    many steps ahead, the prediction joins the window, whose oldest point leaves, until the target is reached.
    """

    rank: Rank = 1
    fit: Fit = "linear"
    degree: int = 2
    mode: Mode = "extrapolate"
    anchor: Anchor = "line"
    shrink: float = 0.0
    autoregressive: int | None = None
    anchor_mean: int = 1


def slope_weights(steps: Array) -> Array:
    """g [T] with slope = g^T u: the least-squares slope per optimiser step."""
    centred = steps - steps.mean()
    return centred / (centred @ centred)


def mean_of_last(count: int, last: int) -> Array:
    """w [count]: the mean of the last `last` deltas."""
    row = np.zeros(count)
    row[-last:] = 1.0 / last
    return row


def _value(how: Forecast, steps: Array, values: Array, target: float) -> float:
    return FITS[how.fit].value(steps, values, target, how.degree)


def _autoregressive(how: Forecast, steps: Array, values: Array, target: float) -> float:
    """Value at the target by repeated one-stride predictions over a rolling window of the same length."""
    stride = how.autoregressive or 0
    while steps[-1] < target:
        ahead = min(steps[-1] + stride, target)
        predicted = _value(how, steps, values, ahead)
        steps, values = np.append(steps[1:], ahead), np.append(values[1:], predicted)
    return float(values[-1])


def directed(gram: Array, steps: Sequence[int], targets: Sequence[int], how: Forecast) -> Directed:
    """w [K, T]: theta_target = theta_0 + sum_i w_i delta_i for every target; of rank 1, all along u_1.

    gram [T, T] float64 of one tensor, steps [T] and targets [K] in optimiser steps.
    """
    time = np.asarray(steps, dtype=np.float64)
    modes = np.eye(len(time)) if how.rank == "full" else spectrum(gram).modes[:, : how.rank]
    found = [_one(modes, time, float(target), how) for target in targets]
    return Directed.along([amount for amount, _ in found], np.stack([row for _, row in found]))


def weights(gram: Array, steps: Sequence[int], targets: Sequence[int], how: Forecast) -> Array:
    """directed() as an array [K, T]."""
    return directed(gram, steps, targets, how).dense


def _one(modes: Array, time: Array, target: float, how: Forecast) -> tuple[float, Array]:
    """An amount and a direction [T]."""
    values, directions = _fitted(modes, time, target, how)
    amount, row = (float(values[0]), directions[0]) if len(values) == 1 else (1.0, values @ directions)
    last = np.eye(len(time))[-1]
    if how.anchor == "last" and how.mode != "reconstruct" and FITS[how.fit].whole is None:
        amount, row = 1.0, amount * row + mean_of_last(len(time), how.anchor_mean)
    if how.shrink:
        amount, row = 1.0, (1.0 - how.shrink) * (amount * row) + how.shrink * last
    return amount, row


def _fitted(modes: Array, time: Array, target: float, how: Forecast) -> tuple[Array, Array]:
    """values [R] along directions [R, T], before anchor `last` adds what was observed; modes [T, R]."""
    observed, fit, ends = np.eye(len(time)), FITS[how.fit], time[-how.anchor_mean :]
    if fit.whole is not None and how.mode != "reconstruct":
        amount, direction = fit.whole(time, target)
        return np.array([amount]), direction[None]
    if how.mode == "reconstruct":
        row = observed[int(np.flatnonzero(time == target)[0])]
    elif fit.row is not None and how.autoregressive is None:
        row = fit.row(time, target, how.degree)
        if how.anchor == "last":
            row = row - np.mean([fit.row(time, step, how.degree) for step in ends], axis=0)
    else:
        ahead = _autoregressive if how.autoregressive is not None else _value
        values = np.array([ahead(how, time, mode, target) for mode in modes.T])
        if how.anchor == "last":
            values -= [np.mean([_value(how, time, mode, step) for step in ends]) for mode in modes.T]
        return values, modes.T
    if how.rank == "full":
        return np.ones(1), row[None]
    # U_r U_r^T row: the weights whose sum is the projection of row^T M on V_r.
    return modes.T @ row, modes.T


def r_squared(steps: Array, values: Array, degree: int = 1) -> float:
    """R^2 of the least-squares polynomial through (steps [T], values [T]); 1 for a constant series."""
    centre, half = (steps[0] + steps[-1]) / 2, (steps[-1] - steps[0]) / 2
    q, _ = np.linalg.qr(np.vander((steps - centre) / half, degree + 1))
    fitted = q @ (q.T @ values)
    spread = float(np.sum((values - values.mean()) ** 2))
    return 1.0 - float(np.sum((values - fitted) ** 2)) / spread if spread > 0 else 1.0
