"""Curves of true RLVR for tests."""

from __future__ import annotations

from relex.ledger.lines import Right
from relex.ledger.true_rlvr import Curve, Point


def near(value: float) -> Right:
    """A share with an interval about it."""
    return Right(value=value, low=max(value - 0.02, 0.0), high=min(value + 0.02, 1.0))


def points(*values: float, every: int = 90, seconds: float = 180.0) -> tuple[Point, ...]:
    """True RLVR, evaluated after `every` steps, which take `seconds` together, the base first. values: of test."""
    return tuple(
        Point(step=every * at, seconds=seconds * at, test=near(value), ood=near(0.3)) for at, value in enumerate(values)
    )


def curve(task: str, *values: float, seed: int = 0, every: int = 90, seconds: float = 180.0) -> Curve:
    found = points(*values, every=every, seconds=seconds)
    return Curve(task=task, seed=seed, command="python -m study", points=found)
