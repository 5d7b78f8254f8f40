"""inputs/true-rlvr.json: what true RLVR reaches, that is, ordinary long training from the same base, by task.

Under version control. The study measures the curves (`python -m flows.study --campaign --true-steps N`).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError, model_validator

from relex.core.atomic import write_json
from relex.core.errors import CorruptArtifact
from relex.core.section import Natural, Section
from relex.core.workspace import TRUE_RLVR
from relex.ledger.lines import Right


def _of_one(right: Right) -> Right:
    if not all(0.0 <= value <= 1.0 for value in (right.low, right.value, right.high)):
        raise ValueError("a share of right samples lies between 0 and 1")
    return right


_Right = Annotated[Right, AfterValidator(_of_one)]


class Point(Section):
    """A checkpoint of true RLVR. seconds: of training until then, on the machine that measured. test, ood: its shares
    of right samples on the suites of these names."""

    step: Natural
    seconds: Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
    test: _Right
    ood: _Right


class Curve(Section):
    """task: task_of. seed: of the training. command: what measured it. points: in the order of their steps."""

    task: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    seed: Natural
    command: str
    points: Annotated[tuple[Point, ...], Field(min_length=2)]

    @model_validator(mode="after")
    def _goes_on(self) -> Curve:
        for before, after in itertools.pairwise(self.points):
            if after.step <= before.step or after.seconds <= before.seconds:
                raise ValueError(f"steps and seconds must grow; after step {before.step} comes step {after.step}")
        return self


_CURVES = TypeAdapter(tuple[Curve, ...])


def reached(points: Sequence[Point], value: float) -> tuple[float, float] | None:
    """The (step, seconds) at which the lines through the curve's test accuracies first reach `value`; None where they
    never do."""
    for before, after in itertools.pairwise(points):
        low, high = before.test.value, after.test.value
        if before is points[0] and low >= value:
            return float(before.step), before.seconds
        if high >= value:
            share = (value - low) / (high - low) if high > low else 1.0
            share = min(max(share, 0.0), 1.0)
            return (
                before.step + share * (after.step - before.step),
                before.seconds + share * (after.seconds - before.seconds),
            )
    return None


def read() -> tuple[Curve, ...]:
    """The curves, each task once; none where there is no file. CorruptArtifact names what is not one."""
    try:
        curves = _CURVES.validate_json(TRUE_RLVR.read_bytes())
    except FileNotFoundError:
        return ()
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = ".".join(map(str, fault["loc"]))
        raise _broken(f"{TRUE_RLVR}: {place}" if place else TRUE_RLVR, fault["msg"]) from None
    except OSError as error:
        raise _broken(TRUE_RLVR, error) from None
    tasks = [curve.task for curve in curves]
    if twice := [task for task in tasks if tasks.count(task) > 1]:
        raise _broken(TRUE_RLVR, f"two curves of the task {twice[0]}")
    return curves


def of(task: str | None) -> Curve | None:
    """The curve of a task; errors as read's."""
    return next((curve for curve in read() if curve.task == task), None)


def add(curve: Curve) -> None:
    """Put a curve in the place of its task's; those of other tasks stay. Errors as read's, and then all stays."""
    curves = [other for other in read() if other.task != curve.task]
    curves = sorted([*curves, curve], key=lambda one: (one.seed, one.task))
    write_json(TRUE_RLVR, [one.model_dump(mode="json") for one in curves])


def _broken(where: object, found: object) -> CorruptArtifact:
    return CorruptArtifact(
        "not curves of true RLVR",
        where=where,
        expected="a list as the study writes it, each task once",
        found=found,
        todo="git checkout inputs/true-rlvr.json",
    )
