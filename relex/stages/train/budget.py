"""Ending a training run inside its budget of time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from transformers import TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import TrainerCallback

from relex.stages.train.capture import Capture
from relex.stages.train.params import Budget

_RECENT = 5  # steps whose longest says how long the next one may take


class Clock:
    """Seconds of the budget: since it was made, and those before an interruption."""

    def __init__(self) -> None:
        self._before, self._start = 0.0, time.monotonic()

    def add(self, seconds: float) -> None:
        """Count what was spent up to the state that the run goes on from."""
        self._before += seconds

    @property
    def seconds(self) -> float:
        return self._before + time.monotonic() - self._start


class BudgetStop(TrainerCallback):
    """Stops before a step that would end beyond the budget, or when enough was observed; all processes together."""

    def __init__(self, budget: Budget, clock: Clock, capture: Capture, accelerator: Accelerator, *, gpus: int):
        """gpus: that are spent meanwhile; the main process's count decides."""
        limits = [
            *([budget.minutes * 60] if budget.minutes is not None else []),
            *([budget.gpu_hours * 3600 / gpus] if budget.gpu_hours is not None else []),
        ]
        self._limit = min(limits, default=None)
        self._clock, self._capture, self._accelerator = clock, capture, accelerator
        self._recent: list[float] = []
        self._last = clock.seconds
        self.expired = False

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        now = self._clock.seconds
        self._recent = [*self._recent[1 - _RECENT :], now - self._last]
        self._last = now
        if self.ended_before():
            control.should_training_stop = True
            control.should_save = True

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._last = self._clock.seconds

    def restore(self, seconds: Sequence[float]) -> None:
        """Seconds of the steps before an interruption."""
        self._recent = list(seconds)[-_RECENT:]

    def ended_before(self) -> bool:
        """Whether no further step may begin: it would end beyond the budget, or enough was observed."""
        over = self._limit is not None and self._clock.seconds + max(self._recent, default=0.0) > self._limit
        self.expired = self.expired or self._agreed(over)
        return self.expired or self._agreed(self._capture.observed_enough)

    def _agreed(self, stop: bool) -> bool:
        """What the main process says: clocks differ, and one that stopped alone would leave the others waiting."""
        if self._accelerator.num_processes == 1:
            return stop
        flag = torch.tensor([int(stop)], device=self._accelerator.device)
        return bool(broadcast(flag, from_process=0).item())
