"""Stage train: short RLVR with TRL's GRPOTrainer, its window captured as a trajectory; or another trainer's run."""

from __future__ import annotations

import os
import time
from typing import Any

from relex.core import progress
from relex.core.asking import Asking
from relex.core.atomic import read_json, write_json
from relex.core.errors import StageFailed
from relex.core.hop import Training
from relex.core.pipes import die_with
from relex.core.reproducible import deterministic, promise
from relex.core.timing import timed
from relex.core.topology import topology
from relex.core.workspace import TRAIN_METRICS, TRAIN_SECONDS, TRAIN_STEPS, TRAJECTORY
from relex.rewards.problem import Problem
from relex.stages.train import drawn, imported, step_stream
from relex.stages.train import state as train_state
from relex.stages.train.grown import grown
from relex.stages.train.launch import is_launched, launch
from relex.stages.train.no_signal import FIRST, at_first, throughout
from relex.stages.train.off_policy import dropped
from relex.stages.train.params import AnyTrain, Imported, Train
from relex.stages.train.room import check_room_for_training
from relex.stages.train.schedule import fading
from relex.stages.train.step_log import COLUMNS, COLUMNS_OF_VLLM, METER, SECONDS, Row, tables, write_table
from relex.trajectory.reader import Trajectory


def run(train: AnyTrain, problems: Asking, training: Training = Training()) -> None:
    """Train, write trajectory/, completions.parquet, metrics/train.json, metrics/train_steps.csv and timings.

    training: of hop.json, how far the window has grown and where the data begin, or which checkpoints of another
    trainer to take. An interrupted run, and one that a later hop lets grow, goes on from its last complete state. Under
    `accelerate launch` this is one of the processes and only trains.
    """
    if isinstance(train, Imported):
        imported.take(train, problems, training)
        return
    with deterministic(train.reproducible):
        _run(grown(train, training), problems, training)


def _run(train: Train, problems: Asking, training: Training) -> None:
    trained_on, held_out = split(train)
    if is_launched():
        die_with(os.getppid())  # whoever started all of them may be killed
        _train_here(train, problems, trained_on, training.before)
        return
    drawn.check(train, problems, [*trained_on, *held_out])
    check_room_for_training(train)
    if fades := fading(train):
        print(f"train: {fades}")
    begun, found = time.perf_counter(), topology()
    if train.reproducible:
        print(f"train: reproducible: {promise(found)}")
    with timed("train") as timing:
        if train.accelerate is None and not found.gpus:
            _train_here(train, problems, trained_on, training.before)
        else:
            # In processes of their own: what trained has ended and left its GPU before the completions are sampled.
            launch(train, found)
        observed = Trajectory(TRAJECTORY).steps
        if len(observed) < 2:
            raise StageFailed(
                f"the budget ended after {len(observed)} captured steps; a forecast needs two at least: raise "
                "train.budget, or lower train.prompts_per_step or train.max_completion_length; the next start goes on"
            )
        _, lines = step_stream.read()
        result = read_json(train_state.RESULT)
        rows, seconds = tables(lines)
        timing |= {
            "spent_seconds": round(result["seconds"], 3),
            "gpu_hours": round(result["seconds"] * result["gpus"] / 3600, 5) if found.gpus else 0.0,
            "processes": result["processes"],
            "steps": [round(row["seconds"], 4) for row in seconds],
        }
        drawn.keep_completions(train, problems, held_out, observed[-1])
        vllm = train.generation.backend == "vllm"
        write_table(TRAIN_STEPS, COLUMNS_OF_VLLM if vllm else COLUMNS, rows)
        write_table(TRAIN_SECONDS, SECONDS, [{name: round(value, 4) for name, value in row.items()} for row in seconds])
        metrics = {**summarise(rows, train), "observed_last": observed[-1], "ended": result["ended"]}
        nothing = throughout(rows, train.max_completion_length)
        if nothing:
            metrics["no_signal"] = nothing
            print(f"train: {nothing}")
        # A short window has fewer steps than are waited for while it runs.
        said = (nothing or at_first(rows, min(FIRST, len(rows))), fades, dropped(rows))
        if warned := [one for one in said if one]:
            metrics["warning"] = "; ".join(warned)
        write_json(TRAIN_METRICS, metrics)
        # Of all starts together.
        timing["seconds"] = round(result["before"] + time.perf_counter() - begun, 3)
    first, last = rows[0]["reward"], rows[-1]["reward"]
    print(f"train: {len(rows)} steps, reward {first:.3f} -> {last:.3f}; ended by {result['ended']}")


def _train_here(train: Train, problems: Asking, trained_on: list[Problem], before: int) -> None:
    from relex.stages.train.trl_import import importing_trl

    with progress.at("train: importing TRL"), importing_trl(vllm=train.generation.backend == "vllm"):
        from relex.stages.train.process import train_process
    train_process(train, problems, trained_on, before)


def split(train: Train) -> tuple[list[Problem], list[Problem]]:
    """The problems that RLVR trains on, and those held out from it for the likelihood scan."""
    return drawn.deal(train, train.prompts_per_step)


def summarise(rows: list[Row], train: Train) -> dict[str, Any]:
    """The run in a few numbers; rewards are means over the first and last tenth of the steps."""
    tenth = max(1, len(rows) // 10)

    def mean(part: list[Row], column: str) -> float:
        return round(sum(row.get(column, 0.0) for row in part) / len(part), 6)

    completions = train.prompts_per_step * train.num_generations
    return {
        "steps": len(rows),
        "completions": len(rows) * completions,
        "tokens": round(sum(row["completion_length"] for row in rows) * completions),
        "reward_first": mean(rows[:tenth], "reward"),
        "reward_last": mean(rows[-tenth:], "reward"),
        "share_without_signal": mean(rows, "share_without_signal"),
        "share_truncated": mean(rows, "share_truncated"),
        "reward_timeouts": sum(row.get("reward_timeouts", 0.0) for row in rows),
        "grad_norm": mean(rows, "grad_norm"),
        **({"share_dropped": mean(rows, "share_dropped")} if "share_dropped" in rows[-1] else {}),
        **{name: round(rows[-1][name], 6) for name in METER if name in rows[-1]},
    }
