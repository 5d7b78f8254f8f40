"""Ten answers to read, by a rule that leaves nothing to choose: right before, wrong after, and the other way round."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from relex.core.errors import InputError
from relex.core.right import RIGHT
from relex.stages.report.data import Proven

_EACH = 5
_LONGEST = 600  # characters of a text that the page shows: the beginning and the end of a longer one
_COLUMNS = ["suite", "problem", "sample", "prompt", "completion", "score"]


@dataclass(frozen=True)
class Sample:
    """A problem with what both models answered first."""

    prompt: str
    before: str
    after: str


@dataclass(frozen=True)
class Samples:
    """before, after: names of the models. suite: whose problems, None where no suite was asked of both; problems: how
    many both were asked. gained: wrong before, right after, `gains` of the problems; lost: the other way round."""

    before: str
    after: str
    suite: str | None
    problems: int
    gained: tuple[Sample, ...]
    lost: tuple[Sample, ...]
    gains: int
    losses: int


def read_samples(night: Proven, rows: Path) -> Samples:
    """The first five of each sort in the suite's order, by each model's first sample of a problem, on the first test
    suite that both were asked, else at the gate. rows: <model>.parquet of the evaluation; InputError without them."""
    before, after = night.compared
    evaluation = night.evaluation
    suites = [*evaluation.suites("test"), *evaluation.suites("gate")]
    asked = (name for name in suites if all(evaluation.accuracy(model, name) for model in night.compared))
    suite = next(asked, None)
    if suite is None:
        return Samples(before, after, None, 0, (), (), 0, 0)
    old, new = (_first_samples(rows / f"{name}.parquet", suite) for name in (before, after))
    both = [problem for problem in old if problem in new]
    gained = [problem for problem in both if new[problem][2] and not old[problem][2]]
    lost = [problem for problem in both if old[problem][2] and not new[problem][2]]
    shown = [
        tuple(Sample(_cut(old[one][0]), _cut(old[one][1]), _cut(new[one][1])) for one in found[:_EACH])
        for found in (gained, lost)
    ]
    return Samples(before, after, suite, len(both), shown[0], shown[1], len(gained), len(lost))


def _first_samples(path: Path, suite: str) -> dict[str, tuple[str, str, bool]]:
    """By problem, in the suite's order: prompt, completion, whether it is right."""
    try:
        table = pq.read_table(path, columns=_COLUMNS, filters=[("suite", "=", suite), ("sample", "=", 0)])
    except (OSError, ValueError) as error:
        raise InputError("not rows of an evaluation", where=path, found=error, todo="run `relex evaluate`") from None
    return {
        row["problem"]: (row["prompt"] or "", row["completion"] or "", row["score"] > RIGHT)
        for row in table.to_pylist()
    }


def _cut(text: str) -> str:
    if len(text) <= _LONGEST:
        return text
    half, dots = _LONGEST // 2, "\N{HORIZONTAL ELLIPSIS}"
    return f"{text[:half]} [{dots} {len(text) - 2 * half:,} characters {dots}] {text[-half:]}"
