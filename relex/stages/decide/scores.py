"""The marks of the evaluation's rows, by model and suite, as the proof looks at them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from relex.core.errors import InputError
from relex.proof.answers import Marks
from relex.stages.evaluate.schema import flags

_COLUMNS = ["model_sha256", "suite", "role", "problem", "sample", "score", "finish_reason"]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class SuiteScores:
    """One model on the first problems of one suite. right, cut, broken: of each sample, [n, k], in the order of
    `problems`; broken: from logits that are not numbers."""

    role: str
    problems: tuple[str, ...]
    right: Flags
    cut: Flags
    broken: Flags

    @property
    def samples(self) -> int:
        """k."""
        return self.right.shape[1]

    @property
    def accuracy(self) -> float:
        """avg@k: the share of right samples."""
        return float(self.right.mean())


@dataclass(frozen=True)
class Scores:
    """name -> suite -> scores, where the model was asked. The problems that two models share of a suite are its first
    ones, in one order."""

    by_model: dict[str, dict[str, SuiteScores]]

    def marks(self, model: str, suite: str, problems: int, samples: int) -> Marks:
        """See proof.answers.Source. InputError where the rows do not reach so far."""
        found = self.by_model.get(model, {}).get(suite)
        if found is None or len(found.problems) < problems or found.samples < samples:
            have = "none" if found is None else f"{len(found.problems)} problems, {found.samples} samples of each"
            raise InputError(
                "rows that the decision needs are missing",
                where=f"model {model}, suite {suite}",
                expected=f"{problems} problems, {samples} samples of each",
                found=have,
                todo="run `relex evaluate`",
            )
        part = (slice(problems), slice(samples))
        right, cut, broken = (which[part].sum(axis=1) for which in (found.right, found.cut, found.broken))
        return Marks(right, cut, broken, samples)

    def accuracy(self, model: str, suite: str) -> float:
        """avg@k of one suite."""
        return self.by_model[model][suite].accuracy


def load_scores(folder: Path, models: Mapping[str, str]) -> Scores:
    """Read <folder>/<model>.parquet for every model, given as name -> model_sha256.

    InputError when one is missing, holds another model's rows, or they do not hold the same problems.
    """
    scores = Scores({name: _load(folder / f"{name}.parquet", sha256) for name, sha256 in models.items()})
    longest: dict[str, tuple[str, ...]] = {}
    for suites in scores.by_model.values():
        for suite, part in suites.items():
            longest[suite] = max(longest.get(suite, ()), part.problems, key=len)
    for name, suites in scores.by_model.items():
        for suite, part in suites.items():
            if longest[suite][: len(part.problems)] != part.problems:
                raise InputError(
                    "models were not evaluated on the same problems",
                    where=f"{folder / name}.parquet: suite {suite}",
                    todo="run `relex evaluate`",
                )
    return scores


def _load(path: Path, model: str) -> dict[str, SuiteScores]:
    try:
        table = pq.read_table(path, columns=_COLUMNS)
    except FileNotFoundError:
        raise InputError("the rows are missing", where=path, todo="run `relex evaluate`") from None
    except (KeyError, ValueError, OSError) as error:  # Arrow's errors are kinds of these
        raise InputError("not rows of an evaluation", where=path, found=error, todo="run `relex evaluate`") from None
    others = set(table.column("model_sha256").unique().to_pylist()) - {model}
    if others:
        raise InputError(
            "the rows are another model's",
            where=path,
            expected=f"model {model[:12]}",
            found=f"model {min(others)[:12]}",
            todo="dvc checkout, or run `relex evaluate`",
        )
    names = table.column("suite").unique().to_pylist()
    return {
        name: _suite(table.filter(pc.equal(table.column("suite"), name)), f"{path}: suite {name}") for name in names
    }


def _suite(table: pa.Table, where: str) -> SuiteScores:
    asked = list(zip(table.column("problem").to_pylist(), table.column("sample").to_pylist(), strict=True))
    problems = tuple(dict.fromkeys(problem for problem, _ in asked))
    samples = table.num_rows // len(problems)
    if asked != [(problem, sample) for problem in problems for sample in range(samples)]:
        raise InputError("a problem lacks samples, or has one twice", where=where, todo="run `relex evaluate`")
    return SuiteScores(table.column("role")[0].as_py(), problems, *flags(table, samples))
