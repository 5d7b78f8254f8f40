"""A training that goes on where an earlier hop's ended: the same run, with a longer window and budget."""

from __future__ import annotations

from relex.core.hop import Training
from relex.stages.train.params import Train


def grown(train: Train, training: Training) -> Train:
    """The section as the hop's training has it: its window, and what it may spend, as often again as it has grown.

    Nothing else changes, so a state of the shorter run is one of the longer run too (state.identity).
    """
    window, budget, times = train.window, train.budget, training.grown
    more = times * -(-window.last // window.every) * window.every  # whole strides: the window's end stays one of them
    return train.model_copy(
        update={
            "window": window.model_copy(update={"last": window.last + more}),
            "budget": budget.model_copy(
                update={
                    "steps": budget.steps + more,
                    "minutes": None if budget.minutes is None else budget.minutes * (1 + times),
                    "gpu_hours": None if budget.gpu_hours is None else budget.gpu_hours * (1 + times),
                }
            ),
        }
    )
