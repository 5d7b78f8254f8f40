"""Problems of a suite from its source: a split, a file, a Hugging Face data set, reasoning-gym, a ready-made set."""

from __future__ import annotations

from pathlib import Path

from relex.problem_rows import adapted, columns, gym, read_dataset, read_table
from relex.problem_set import Problem, load_split
from relex.ready_made import READY_MADE
from relex.suite_params import DatasetSource, FileSource, GymSource, ReadyMadeSource, SplitSource, SuiteParams
from relex.workspace import PROBLEMS

_DEFAULT_SCORER = "math-verify"


def load_problems(suite: SuiteParams) -> list[Problem]:
    """The suite's problems, in the order of their source; InputError for a source that cannot give them."""
    source, where = suite.source, f"suite {suite.name}"
    template, scorer = suite.template or "{question}", suite.scorer or _DEFAULT_SCORER
    if isinstance(source, SplitSource):
        return load_split(PROBLEMS, source.split)
    if isinstance(source, GymSource):
        items = gym(
            source.task,
            source.config,
            seed=source.seed,
            size=source.size,
            template=template,
            threshold=source.threshold,
            scorer=None,
            where=where,
        )
        return [found.problem for found in items]
    if isinstance(source, ReadyMadeSource):
        made = READY_MADE[source.set]
        adapt, template = made.adapt, suite.template or made.template
        if source.path:
            rows = read_table(Path(source.path), where)
        else:
            rows = read_dataset(made.repo, made.config, made.split, source.revision, where)
    elif isinstance(source, FileSource):
        adapt, rows = columns(source.problem, source.answer), read_table(Path(source.path), where)
    else:
        assert isinstance(source, DatasetSource)
        adapt = columns(source.problem, source.answer)
        rows = read_dataset(source.repo, source.config, source.split, source.revision, where)
    return [found.problem for found in adapted(rows, adapt, template, scorer, where)]
