"""Stage train: short RLVR with TRL's GRPOTrainer, its window captured as a trajectory."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from relex import step_stream, train_state
from relex.atomic import read_json, write_json
from relex.completions import sample_completions, write_completions
from relex.disk import check_room_for_training
from relex.errors import InputError, StageFailed
from relex.materialize import materialize
from relex.params import Params
from relex.problem_set import Problem, load_split
from relex.prompts import check_end_token, check_lengths
from relex.step_log import COLUMNS, METER, SECONDS, Row, no_signal, tables, write_table
from relex.timing import timed
from relex.train_launch import is_launched, launch
from relex.train_params import Train
from relex.trajectory import Trajectory
from relex.workspace import (
    BASE,
    COMPLETIONS,
    PROBLEMS,
    STATE,
    TRAIN_METRICS,
    TRAIN_SECONDS,
    TRAIN_STEPS,
    TRAJECTORY,
)


def run(params: Params) -> None:
    """Train, write trajectory/, completions.parquet, metrics/train.json, metrics/train_steps.csv and timings.

    An interrupted run goes on from its last complete state. Under `accelerate launch` this is one of the processes
    and only trains.
    """
    trained_on, held_out = split(params)
    if is_launched():
        from relex.train_process import train_process

        train_process(params, trained_on)
        return
    check(params, [*trained_on, *held_out])
    check_room_for_training(params)
    begun = time.perf_counter()
    with timed("train") as timing:
        if params.train.accelerate is None:
            from relex.train_process import train_process

            train_process(params, trained_on)
        else:
            launch(Path(params.train.accelerate))
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
            "gpu_hours": round(result["seconds"] * result["processes"] / 3600, 5) if torch.cuda.is_available() else 0.0,
            "processes": result["processes"],
            "steps": [round(row["seconds"], 4) for row in seconds],
        }
        keep_completions(params, held_out, observed[-1])
        write_table(TRAIN_STEPS, COLUMNS, rows)
        write_table(TRAIN_SECONDS, SECONDS, [{name: round(value, 4) for name, value in row.items()} for row in seconds])
        metrics = {**summarise(rows, params.train), "observed_last": observed[-1], "ended": result["ended"]}
        if warning := no_signal(rows):
            metrics["warning"] = warning
        write_json(TRAIN_METRICS, metrics)
        # Of all starts together.
        timing["seconds"] = round(result["before"] + time.perf_counter() - begun, 3)
        if result["ended"] != "time":  # a run that only ran out of time can be given more
            train_state.remove()
    first, last = rows[0]["reward"], rows[-1]["reward"]
    print(f"train: {len(rows)} steps, reward {first:.3f} -> {last:.3f}; ended by {result['ended']}")


def split(params: Params) -> tuple[list[Problem], list[Problem]]:
    """The problems that RLVR trains on, and those held out from it for the likelihood scan."""
    problems, held_out = load_split(PROBLEMS, "train"), params.train.completions.prompts
    if len(problems) - held_out < params.train.prompts_per_step:
        raise InputError(
            "too few problems to train on",
            where="problems.sizes.train",
            expected=f"train.completions.prompts ({held_out}) and train.prompts_per_step "
            f"({params.train.prompts_per_step}) at least",
            found=len(problems),
        )
    return problems[:-held_out], problems[-held_out:]


def check(params: Params, problems: list[Problem]) -> None:
    """InputError for a base or problems that no training could use."""
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    check_end_token(tokenizer, GenerationConfig.from_pretrained(BASE))
    limit = read_json(BASE / "config.json").get("max_position_embeddings")
    if limit is not None:
        length = params.train.max_completion_length
        check_lengths(tokenizer, problems, length, limit, chat=params.problems.chat, system=params.problems.system)


def keep_completions(params: Params, held_out: list[Problem], step: int) -> None:
    """completions.parquet, sampled from the last observed checkpoint as the trajectory holds it."""
    train, last = params.train, STATE / "last_observed"
    materialize(TRAJECTORY, BASE, step, last, replace=True)
    model = AutoModelForCausalLM.from_pretrained(last, dtype=torch.float32)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    table = sample_completions(
        model,
        AutoTokenizer.from_pretrained(BASE, padding_side="left"),
        held_out,
        samples=train.completions.samples,
        temperature=train.temperature,
        max_new_tokens=train.max_completion_length,
        seed=train.seed,
        chat=params.problems.chat,
        system=params.problems.system,
    )
    write_completions(COMPLETIONS, table)
    shutil.rmtree(last)


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
        **{name: round(rows[-1][name], 6) for name in METER if name in rows[-1]},
    }
