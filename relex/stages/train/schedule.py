"""The learning rate over a training's own steps, as far as a forecast depends on it. Pure."""

from __future__ import annotations

import math

from relex.stages.train.params import Train

_LEAST = 0.5  # of the peak, at the window's last step: below it the last steps are less than half as long as the first


def rate_at(train: Train, step: int) -> float:
    """The learning rate of an optimiser step from 1, as a share of train.learning_rate: transformers' schedules."""
    before, warm, total = step - 1, train.warmup_steps, train.budget.steps
    if before < warm:
        return before / warm
    if train.lr_scheduler_type == "constant_with_warmup":
        return 1.0
    done = min(1.0, (before - warm) / max(1, total - warm))
    return 1.0 - done if train.lr_scheduler_type == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))


def fading(train: Train) -> str | None:
    """A warning where the schedule slows the weights down within the window: a line through it is then no forecast of
    steps at the full rate, and its backtest may find that the window turns."""
    last = train.window.last
    if train.lr_scheduler_type == "constant_with_warmup" or last <= train.warmup_steps:
        return None
    left = rate_at(train, last)
    if left >= _LEAST:
        return None
    return (
        f"WARNING: train.lr_scheduler_type {train.lr_scheduler_type} lets the rate fall to {left:.0%} of "
        f"train.learning_rate at step {last}, the window's last: the weights slow down within the window, and a line "
        "through it bends; take constant_with_warmup, or a train.budget.steps far beyond train.window.last"
    )
