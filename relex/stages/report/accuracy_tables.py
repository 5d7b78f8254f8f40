"""The tables of accuracy, model by model: who is reported on, and the race. Rows of text, ready to print."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from relex.stages.report import words
from relex.stages.report.data import Interval, Proven
from relex.stages.report.decision import Candidate
from relex.stages.report.names import called, same

_ROLES = {"test": "only reported", "ood": "guards", "gate": "proves"}  # the race has a table of its own
_BEYOND = {"backtest": "backtest", "likelihood": "likelihood's peak"}


@dataclass(frozen=True)
class Column:
    """A suite: its name, what its problems are for, and whether that is (also) to be reported."""

    suite: str
    purpose: str
    reported: bool


@dataclass(frozen=True)
class Cell:
    """Share of right samples with its interval, and what it rests on, where models of one column differ in that."""

    accuracy: Interval
    asked: str


@dataclass(frozen=True)
class AccuracyRow:
    """One model. cells: per column, None where it was not asked; passed: pass@k on test; cut: worst share cut off."""

    name: str
    mark: str
    note: str
    cells: tuple[Cell | None, ...]
    passed: Interval | None
    cut: float | None


@dataclass(frozen=True)
class AccuracyTable:
    """Models by suites: only models that were asked one of them, and suites that one of them was asked."""

    columns: tuple[Column, ...]
    rows: tuple[AccuracyRow, ...]


def reported(night: Proven) -> AccuracyTable:
    """Base, last observed, champion, then whoever met the gate or was reported on, by step; without the race."""
    columns = [
        Column(suite, purpose, role in ("test", "ood"))
        for role, purpose in _ROLES.items()
        for suite in night.evaluation.suites(role)
    ]
    return _table(night, _models(night), columns)


def raced(night: Proven) -> AccuracyTable:
    """The last observed, then candidates and controls by step, on the suites of the race."""
    names = [*night.evaluation.of_kind("observed"), *night.evaluation.of_kind("candidate", "control")]
    return _table(night, names, [Column(suite, "picks", False) for suite in night.evaluation.suites("choose")])


def unasked(night: Proven) -> list[str]:
    """What models are called that were asked nothing at all."""
    asked = night.evaluation.protocol.suites
    return [called(night, name) for name in _models(night) if not any(_asked(night, name, suite) for suite in asked)]


def _models(night: Proven) -> list[str]:
    """Every model once."""
    evaluation = night.evaluation
    first = [name for kind in ("base", "observed", "champion") for name in evaluation.of_kind(kind)]
    once = [name for name in first if name != evaluation.same_as_base]
    return once + evaluation.of_kind("candidate", "control")


def _table(night: Proven, names: Sequence[str], columns: Sequence[Column]) -> AccuracyTable:
    used = tuple(column for column in columns if any(_asked(night, name, column.suite) for name in names))
    notes = {candidate.name: _note(candidate) for candidate in night.decision.candidates}
    racing = {column.suite for column in used} & set(night.evaluation.suites("choose"))
    rows = [_row(night, name, used, notes.get(name, "") if racing else "") for name in names]
    return AccuracyTable(used, tuple(row for row in rows if any(row.cells)))


def _row(night: Proven, name: str, columns: Sequence[Column], note: str) -> AccuracyRow:
    decision, mark = night.decision, ""
    if decision.winner in same(night, name):
        mark = "winner" if decision.promote else "kept"
    elif name == night.finalist:
        mark = "chosen, not promoted"
    cut = [
        found.value
        for column in columns
        for one in same(night, name)
        if (found := night.evaluation.interval(one, column.suite, "truncated"))
    ]
    return AccuracyRow(
        name=called(night, name),
        mark=mark,
        note=note,
        cells=tuple(_cell(night, name, column) for column in columns),
        passed=_pass_on_test(night, name),
        cut=max(cut, default=None),
    )


def _asked(night: Proven, name: str, suite: str) -> str | None:
    """Under which of its names a model was asked most of a suite; None where it was not."""
    asked = [one for one in same(night, name) if night.evaluation.accuracy(one, suite)]
    return max(asked, key=lambda one: math.prod(night.evaluation.asked(one, suite)), default=None)


def _cell(night: Proven, name: str, column: Column) -> Cell | None:
    """Which problems and how many samples stand with the parts of the proof alone: each model was asked its own."""
    one = _asked(night, name, column.suite)
    accuracy = night.evaluation.accuracy(one, column.suite) if one else None
    if one is None or accuracy is None:
        return None
    by_need = night.evaluation.protocol.suites[column.suite].role in ("choose", "gate")
    return Cell(accuracy, words.asked(*night.evaluation.asked(one, column.suite)) if by_need else "")


def _note(candidate: Candidate) -> str:
    """When it left the race, and what its step lies beyond."""
    said = [] if candidate.left is None else [f"left the race after look {candidate.left}"]
    if candidate.beats_control is False:
        said.append("not shown to be better than every control")
    if candidate.beyond:
        said.append(f"beyond the {' and the '.join(_BEYOND.get(what, what) for what in candidate.beyond)}")
    return "; ".join(said)


def pass_k(night: Proven) -> int | None:
    """The largest k of pass@k on the test problems; None when none was measured."""
    measured = {
        int(metric.removeprefix("pass_at_"))
        for suites in night.evaluation.metrics.values()
        for suite in night.evaluation.suites("test")
        for metric in suites.get(suite, {})
        if metric.startswith("pass_at_")
    }
    return max(measured, default=None)


def _pass_on_test(night: Proven, name: str) -> Interval | None:
    suites = night.evaluation.suites("test")
    one = _asked(night, name, suites[0]) if suites else None
    return night.evaluation.interval(one, suites[0], f"pass_at_{pass_k(night)}") if one else None
