"""Right samples per model, suite and problem, read from the evaluation's rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from relex.core.errors import InputError
from relex.stages.evaluate.schema import CHOOSE, GATE, NON_FINITE

_COLUMNS = ["model_sha256", "suite", "role", "problem", "score", "finish_reason"]


@dataclass(frozen=True)
class SuiteScores:
    """One model on one suite. right, truncated, non_finite: samples per problem [n], in the order of `problems`."""

    role: str
    problems: tuple[str, ...]
    samples: int
    right: NDArray[np.int64]
    truncated: NDArray[np.int64]
    non_finite: NDArray[np.int64]

    @property
    def accuracy(self) -> float:
        """avg@k: the share of right samples."""
        return float(self.right.mean() / self.samples)


@dataclass(frozen=True)
class Scores:
    """name -> suite -> scores. Every model has the same suites with the same problems in the same order."""

    by_model: dict[str, dict[str, SuiteScores]]

    def suites(self, role: str) -> list[str]:
        """Names of the suites with this role."""
        first = next(iter(self.by_model.values()))
        return [name for name, suite in first.items() if suite.role == role]

    def choose(self, model: str) -> float:
        """avg@k on the choosing part of validation: the mean over its suites."""
        return float(np.mean([self.by_model[model][suite].accuracy for suite in self.suites(CHOOSE)]))

    def problems(self, suite: str) -> tuple[str, ...]:
        """Ids of a suite's problems, the same for every model."""
        return next(iter(self.by_model.values()))[suite].problems

    def accuracy(self, model: str, suite: str) -> float:
        """avg@k of one suite."""
        return self.by_model[model][suite].accuracy


def load_scores(folder: Path, models: Mapping[str, str]) -> Scores:
    """Read <folder>/<model>.parquet for every model, given as name -> model_sha256.

    InputError when one is missing, holds another model's rows, or they do not hold the same problems.
    """
    scores = Scores({name: _load(folder / f"{name}.parquet", sha256) for name, sha256 in models.items()})
    first_name, first = next(iter(scores.by_model.items()))
    for name, suites in scores.by_model.items():
        if {suite: part.problems for suite, part in suites.items()} != {s: part.problems for s, part in first.items()}:
            raise InputError(
                "models were not evaluated on the same problems",
                where=f"{folder}: {name} and {first_name}",
                todo="run `relex evaluate`",
            )
    for role in (CHOOSE, GATE):
        if not scores.suites(role):
            raise InputError("the evaluation has no suite for this role", where=folder, expected=role)
    return scores


def _load(path: Path, model: str) -> dict[str, SuiteScores]:
    try:
        table = pq.read_table(path, columns=_COLUMNS)
    except FileNotFoundError:
        raise InputError("the rows are missing", where=path, todo="run `relex evaluate`") from None
    except (KeyError, ValueError, OSError) as error:  # Arrow's errors are kinds of these
        raise InputError("not rows of an evaluation", where=path, found=error, todo="run `relex evaluate`") from None
    frame = table.to_pandas()
    others = set(frame["model_sha256"]) - {model}
    if others:
        raise InputError(
            "the rows are another model's",
            where=path,
            expected=f"model {model[:12]}",
            found=f"model {min(others)[:12]}",
            todo="dvc checkout, or run `relex evaluate`",
        )
    frame["truncated"] = frame["finish_reason"] == "length"
    frame["non_finite"] = frame["finish_reason"] == NON_FINITE
    suites = {}
    for name, part in frame.groupby("suite", sort=False):
        by_problem = part.groupby("problem", sort=False)
        counts = by_problem.size()
        if counts.nunique() != 1:
            raise InputError("a problem lacks samples", where=f"{path}: suite {name}")
        suites[str(name)] = SuiteScores(
            role=part["role"].iloc[0],
            problems=tuple(counts.index),
            samples=int(counts.iloc[0]),
            right=by_problem["score"].sum().round().to_numpy(np.int64),
            truncated=by_problem["truncated"].sum().to_numpy(np.int64),
            non_finite=by_problem["non_finite"].sum().to_numpy(np.int64),
        )
    return suites
