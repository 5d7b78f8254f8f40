"""What a night's proof will ask and can show, as the parameters promise it: before any problem or row is there.

A champion is reckoned with, as every night after the first promotion has one. Nothing is said where the size of a
suite is known only from its source.
"""

from __future__ import annotations

from relex.core.errors import InputError
from relex.params.load import Params
from relex.proof.plan import Plan
from relex.proof.race import Racers
from relex.proof.rounds import Room
from relex.stages.evaluate import planned
from relex.stages.evaluate.params import Evaluate
from relex.stages.extrapolate.params import Extrapolate
from relex.stages.problems.params import Problems
from relex.stages.train.params import AnyTrain


def most_rows(params: Params) -> int | None:
    """The most rows that the proof and its report ask for."""
    rooms, limit = _rooms(params.problems, params.evaluate), _limit(params.evaluate, params.train)
    if rooms is None:
        return None
    most = planned.unlimited(params.evaluate, rooms, racers_of(params.extrapolate), True)
    return most if limit is None else min(most, limit)


def sentences(params: Params) -> list[str]:
    """What the proof may take and can prove; none where its budget is too small."""
    rooms, limit = _rooms(params.problems, params.evaluate), _limit(params.evaluate, params.train)
    if rooms is None or too_small(params.problems, params.train, params.extrapolate, params.evaluate):
        return []
    racers = racers_of(params.extrapolate)
    plan = _plan(rooms, params.evaluate, racers, limit)
    return planned.sentence(params.evaluate, params.decide, rooms, plan, racers, True, limit).splitlines()


def too_small(problems: Problems, train: AnyTrain, extrapolate: Extrapolate, evaluate: Evaluate) -> list[InputError]:
    """That the budget does not reach for the smallest proof; found by `evaluate` alone, it would cost a training."""
    rooms = _rooms(problems, evaluate)
    if rooms is None:
        return []
    try:
        _plan(rooms, evaluate, racers_of(extrapolate), _limit(evaluate, train))
    except InputError as error:
        return [error]
    return []


def racers_of(extrapolate: Extrapolate) -> Racers:
    """How many will race."""
    return Racers(extrapolate.target_count - extrapolate.control_count, extrapolate.control_count)


def _rooms(problems: Problems, evaluate: Evaluate) -> tuple[Room, ...] | None:
    return planned.expected_rooms(evaluate, problems.sizes.model_dump())


def _limit(evaluate: Evaluate, train: AnyTrain) -> int | None:
    """In rows; minutes are worth what the machine makes of them, which is not known yet."""
    return planned.row_budget(evaluate, train.rollouts, None)


def _plan(rooms: tuple[Room, ...], evaluate: Evaluate, racers: Racers, limit: int | None) -> Plan:
    return planned.planned(evaluate, rooms, racers, True, limit)
