"""What TRL logs at every step, kept, told to who follows the run, and shown."""

from __future__ import annotations

import contextlib
import csv
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm
from transformers import TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import TrainerCallback

from relex.core import progress
from relex.core.atomic import new_file
from relex.stages.train.capture import Capture
from relex.stages.train.no_signal import at_first
from relex.stages.train.step_stream import StepStream

# Our column: TRL's key.
LOGGED = {
    "reward": "reward",
    "reward_std": "reward_std",
    "share_without_signal": "frac_reward_zero_std",
    "entropy": "entropy",
    "completion_length": "completions/mean_length",
    "share_truncated": "completions/clipped_ratio",
    "reward_timeouts": "reward_timeouts",
    "format_timeouts": "format_timeouts",
    "loss": "loss",
    "kl": "kl",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
}
# Where vLLM writes the rollouts: how much likelier the training finds a completion than the engine that sampled it. TRL
# leaves those above 3 out of the loss, and gives them a ratio of 0.
IMPORTANCE = {
    "importance_min": "sampling/importance_sampling_ratio/min",
    "importance_mean": "sampling/importance_sampling_ratio/mean",
    "importance_max": "sampling/importance_sampling_ratio/max",
    "share_dropped": "sampling/share_dropped",
}
METER = ("explained_share", "r_squared", "skill")
COLUMNS = ("step", *LOGGED, *METER)
COLUMNS_OF_VLLM = ("step", *LOGGED, *IMPORTANCE, *METER)
# They differ between identical runs, so they stand in a table of their own.
SECONDS = ("step", "generation", "reward", "update", "capture", "seconds", "tokens_per_second")

_PREFIX = "seconds/"  # of SECONDS in the stream

Row = dict[str, float]


class StepLog(TrainerCallback):
    """One row a step: `rows` repeat exactly in an identical run, `seconds` do not."""

    def __init__(
        self, total: int, completions: int, seconds: Callable[[], dict[str, float]], capture: Capture, begun: StepStream
    ):
        """total: steps of the whole run; completions: of one step; seconds: of the parts of the last step."""
        self._stream, self._seconds, self._capture, self._completions = begun, seconds, capture, completions
        self.rows, self.seconds = tables(begun.rows)
        self._bar = tqdm(total=total, initial=len(self.rows), desc="RLVR", unit="step", mininterval=2.0)
        self._alive = contextlib.ExitStack()
        self._alive.enter_context(progress.kept_alive(self._bar))  # a step may take minutes
        self._start = time.perf_counter()
        self._warned = False

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._start = time.perf_counter()

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        logs = kwargs["logs"]
        if "reward" not in logs:  # the summary at the end of training
            return
        row: Row = {"step": state.global_step}
        row |= {name: float(logs[key]) for name, key in (LOGGED | IMPORTANCE).items() if logs.get(key) is not None}
        row |= self._capture.reading
        whole = time.perf_counter() - self._start
        parts = {**self._seconds(), "capture": self._capture.seconds}
        parts["update"] = max(whole - sum(parts.values()), 0.0)
        tokens = row["completion_length"] * self._completions
        spent = {**parts, "seconds": whole, "tokens_per_second": tokens / whole}
        self.rows.append(row)
        self.seconds.append({"step": state.global_step, **spent})
        self._stream.append({**row, **{_PREFIX + name: value for name, value in spent.items()}})
        skill = f"{row['skill']:.2f}" if "skill" in row else "-"
        self._bar.set_postfix(reward=f"{row['reward']:.3f}", skill=skill, refresh=False)
        self._bar.update(1)
        if not self._warned and (warning := at_first(self.rows)):
            self._warned = True
            tqdm.write(f"relex train: {warning}", file=sys.stderr)

    def sync(self) -> None:
        """Make the rows so far durable."""
        self._stream.sync()

    def close(self) -> None:
        """Leave the progress bar as it stands."""
        self._alive.close()
        self._bar.close()


def tables(lines: Sequence[Mapping[str, float]]) -> tuple[list[Row], list[Row]]:
    """The lines of a step stream as rows of COLUMNS_OF_VLLM and rows of SECONDS, as far as they have them."""
    rows = [{name: line[name] for name in COLUMNS_OF_VLLM if name in line} for line in lines]
    seconds = [
        {"step": line["step"], **{name: line[_PREFIX + name] for name in SECONDS if _PREFIX + name in line}}
        for line in lines
    ]
    return rows, seconds


def write_table(path: Path, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Rows as CSV, for DVC's plots and the report; what a row lacks stays empty."""
    with new_file(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as handle:
        table = csv.DictWriter(handle, fieldnames=list(columns), lineterminator="\n")
        table.writeheader()
        table.writerows({name: row[name] for name in columns if name in row} for row in rows)
