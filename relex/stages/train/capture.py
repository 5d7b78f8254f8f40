"""The callback that keeps the window: float32 deltas from the base, one trajectory step per captured optimiser step."""

from __future__ import annotations

import time
from typing import Any

import torch
from transformers import TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import TrainerCallback

from relex.core.errors import StageFailed
from relex.stages.train.deltas import Deltas, Source
from relex.stages.train.meter import Meter
from relex.stages.train.params import StopWhen, Window
from relex.trajectory.step_queue import StepQueue


class Capture(TrainerCallback):
    """Append theta_t - theta_0 to a trajectory at every step of the window, and keep the forecast meter.

    On processes other than the main one `queue` and `meter` are None: they only take part in gathering the weights.
    """

    def __init__(
        self,
        source: Source,
        window: Window,
        *,
        queue: StepQueue | None,
        meter: Meter | None,
        stop_when: StopWhen | None = None,
    ):
        self._source, self._queue, self._meter, self._stop_when = source, queue, meter, stop_when
        self._steps = frozenset(window.steps)
        self._pending: tuple[int, Deltas] | None = None
        self._above = 0
        self.reading: dict[str, float] = {}  # of the meter, after the last captured step
        self.seconds = 0.0  # that training waited for the capture of the last step
        self.observed_enough = False  # stop_when has come true

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.seconds = 0.0
        self.reading = {}

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.global_step not in self._steps or (self._queue is None and not self._source.collective):
            return
        start = time.perf_counter()
        deltas = self._source.deltas()
        if self._queue is not None and self._meter is not None:
            check(deltas, state.global_step)
            self._meter.add(state.global_step, self._meter.sketch.of(deltas))
            self._pending = (state.global_step, {name: tensor.cpu() for name, tensor in deltas.items()})
            self.reading = self._meter.read()
            self._watch()
        self.seconds += time.perf_counter() - start

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        # The trainer logs right after on_step_end, with the weights unchanged: only here is the step's reward known.
        if self._queue is not None and self._pending is not None and self._pending[0] == state.global_step:
            start = time.perf_counter()
            step, deltas = self._pending
            self._pending = None
            self._queue.put(step, deltas, float(kwargs["logs"]["reward"]))
            self.seconds += time.perf_counter() - start

    def restore(self, step: int, sketched: torch.Tensor) -> None:
        """Tell the meter of a step that was captured before an interruption."""
        assert self._meter is not None
        self._meter.add(step, sketched)
        self.reading = self._meter.read()
        self._watch()

    def _watch(self) -> None:
        if self._stop_when is None:
            return
        skill = self.reading.get("skill")
        self._above = self._above + 1 if skill is not None and skill >= self._stop_when.skill else 0
        self.observed_enough = self._above >= self._stop_when.steps


def check(deltas: Deltas, step: int) -> None:
    """StageFailed when the weights of a step are not finite, naming the tensor: nothing of it is kept."""
    for name, tensor in deltas.items():
        if not torch.isfinite(tensor.sum()):
            bad = int(tensor.numel() - torch.isfinite(tensor).sum())
            if bad:
                raise StageFailed(
                    f"training diverged: at step {step} {bad} of {tensor.numel()} values of {name} are not finite; "
                    "the window up to the step before is kept in trajectory/; lower train.learning_rate"
                )
