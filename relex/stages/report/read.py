"""Reading what the report is made of; every missing or broken file is named at once."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from relex.core import workspace
from relex.core.atomic import read_json
from relex.core.errors import InputError, InputErrors
from relex.stages.report.data import BaseFacts, Evaluation, Night, Proven, Step, Timing, TrainFacts
from relex.stages.report.decision import Decision
from relex.stages.report.diagnosis import Diagnosis
from relex.stages.report.facts import Facts

_Facts = TypeVar("_Facts", bound=Facts)
# Our name: the column of train_steps.csv.
_LOGGED = {"without_signal": "share_without_signal", "cut": "share_truncated", "length": "completion_length"}
_ORDER = ("problems", "base", "train", "diagnose", "extrapolate", "evaluate", "decide")


def read_night() -> Night:
    """The night's metrics and timings from the project's root; InputErrors names every file that cannot be used."""
    faults: list[InputError] = []

    def read(path: Path, shape: type[_Facts]) -> _Facts | None:
        try:
            return _facts(path, shape)
        except InputError as fault:
            faults.append(fault)
            return None

    base = read(workspace.BASE_METRICS, BaseFacts)
    train = read(workspace.TRAIN_METRICS, TrainFacts)
    diagnosis = read(workspace.DIAGNOSIS, Diagnosis)
    evaluation = read(workspace.EVALUATION_METRICS, Evaluation)
    decision = read(workspace.DECISION, Decision)
    timings = {path.stem: read(path, Timing) for path in sorted(workspace.TIMINGS.glob("*.json"))}
    steps: list[Step] = []
    try:
        if train is None or train.completions:  # another trainer's are not known
            steps = read_steps(workspace.TRAIN_STEPS)
    except InputError as fault:
        faults.append(fault)
    if not (base and train and diagnosis and evaluation and decision) or faults:
        raise InputErrors(faults)
    spent = {stage: timing for stage, timing in timings.items() if timing is not None}
    night = Night.model_construct(
        base=base,
        train=train,
        steps=steps,
        diagnosis=diagnosis,
        evaluation=evaluation,
        decision=decision,
        timings={stage: spent[stage] for stage in sorted(spent, key=_place)},
    )
    _check_same_night(night)
    return night


def read_proven(evaluation: Path, decision: Path, timings: Path) -> Proven:
    """A proof without a night; InputError for the first file that cannot be used. timings: a folder of <stage>.json."""
    proven = Proven.model_construct(
        evaluation=_facts(evaluation, Evaluation),
        decision=_facts(decision, Decision),
        timings={path.stem: _facts(path, Timing) for path in sorted(timings.glob("*.json"))},
    )
    _check_same_night(proven)
    return proven


def read_steps(path: Path) -> list[Step]:
    """The training's steps, in order, from train_steps.csv; InputError for anything else. What a row leaves empty, and
    columns that an earlier release did not write, are None."""
    try:
        with open(path, newline="", encoding="utf-8") as handle:
            rows = [_step(row) for row in csv.DictReader(handle)]
    except FileNotFoundError:
        raise InputError("the file is missing", where=path, todo="run the stage that writes it") from None
    except (ValueError, KeyError, TypeError, csv.Error, OSError) as error:
        found = error.errors(include_url=False)[0]["msg"] if isinstance(error, ValidationError) else error
        raise InputError(
            "not a table of steps", where=path, expected="columns step and reward, numbers in every row", found=found
        ) from error
    if not rows:
        raise InputError("not a table of steps", where=path, expected="at least one step, every reward finite")
    return sorted(rows, key=lambda row: row.step)


def _step(row: dict[str, str]) -> Step:
    logged = {name: row[column] for name, column in _LOGGED.items() if row.get(column)}
    return Step.model_validate({"step": row["step"], "reward": row["reward"], **logged})


def _facts(path: Path, shape: type[_Facts]) -> _Facts:
    raw: Any = read_json(path)
    try:
        return shape.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        more = error.error_count() - 1
        raise InputError(
            first["msg"] + (f" (and {more} more)" if more else ""),
            where=": ".join([str(path), *([".".join(map(str, first["loc"]))] if first["loc"] else [])]),
            todo="run the stage that writes it again",
        ) from error


def _check_same_night(night: Proven) -> None:
    """InputError where two files speak of different models: one of them is stale."""
    models, decision = night.evaluation.models, night.decision
    named = [verdict.name for verdict in decision.verdicts] + ([decision.winner] if decision.winner else [])
    unknown = [name for name in named if name not in models]
    if decision.winner in models and models[decision.winner].model_sha256 != decision.winner_model_sha256:
        unknown.append(f"{decision.winner} as model {decision.winner_model_sha256}")
    if unknown:
        raise InputError(
            "the decision speaks of models that this evaluation does not hold",
            where=workspace.DECISION,
            expected=f"one of {', '.join(models)}",
            found=", ".join(dict.fromkeys(unknown)),
            todo="run `relex decide` again",
        )


def _place(stage: str) -> tuple[int, str]:
    return (_ORDER.index(stage) if stage in _ORDER else len(_ORDER), stage)
