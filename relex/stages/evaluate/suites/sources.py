"""Problems of a suite from its source: a split, a file, a Hugging Face data set, reasoning-gym, a ready-made set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from relex.core.workspace import PROBLEMS
from relex.rewards.problem import Problem, load_split
from relex.stages.evaluate.suites.params import (
    DatasetSource,
    FileSource,
    GymSource,
    ReadyMadeSource,
    SplitSource,
    SuiteParams,
)
from relex.stages.evaluate.suites.ready_made import READY_MADE
from relex.stages.problems.rows import Adapter, adapted, columns, gym, read_dataset, read_table

_BARE, _DEFAULT_SCORER = "{question}", "math-verify"


def load_problems(suite: SuiteParams) -> list[Problem]:
    """The suite's problems, in the order of their source; InputError for a source that cannot give them."""
    return SOURCES[type(suite.source)](suite.source, suite)


def _split(source: SplitSource, suite: SuiteParams) -> list[Problem]:
    return load_split(PROBLEMS, source.split)


def _gym(source: GymSource, suite: SuiteParams) -> list[Problem]:
    items = gym(
        source.task,
        source.config,
        seed=source.seed,
        size=source.size,
        template=suite.template or _BARE,
        threshold=source.threshold,
        scorer=None,
        where=_where(suite),
    )
    return [found.problem for found in items]


def _ready_made(source: ReadyMadeSource, suite: SuiteParams) -> list[Problem]:
    made, where = READY_MADE[source.set], _where(suite)
    if source.path:
        rows = read_table(Path(source.path), where)
    else:
        rows = read_dataset(made.repo, made.config, made.split, source.revision, where)
    return _of_rows(rows, made.adapt, suite, made.template)


def _file(source: FileSource, suite: SuiteParams) -> list[Problem]:
    rows = read_table(Path(source.path), _where(suite))
    return _of_rows(rows, columns(source.problem, source.answer), suite)


def _dataset(source: DatasetSource, suite: SuiteParams) -> list[Problem]:
    rows = read_dataset(source.repo, source.config, source.split, source.revision, _where(suite))
    return _of_rows(rows, columns(source.problem, source.answer), suite)


def _of_rows(rows: list[dict[str, Any]], adapt: Adapter, suite: SuiteParams, template: str = _BARE) -> list[Problem]:
    asked = suite.template or template, suite.scorer or _DEFAULT_SCORER, _where(suite)
    return [found.problem for found in adapted(rows, adapt, *asked)]


def _where(suite: SuiteParams) -> str:
    return f"suite {suite.name}"


# How the problems of each kind of source are got: (its section, the suite) -> problems.
SOURCES: Mapping[type, Callable[[Any, SuiteParams], list[Problem]]] = {
    SplitSource: _split,
    FileSource: _file,
    DatasetSource: _dataset,
    GymSource: _gym,
    ReadyMadeSource: _ready_made,
}
