"""A night's rows as the study compares them: the share of right samples of every problem."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from relex.stages.evaluate.statistics import Interval, bootstrap_intervals

CONFIDENCE = 0.95
RESAMPLES = 10_000

Shares = Mapping[str, Mapping[str, float]]  # by model and problem


def load_shares(folder: Path, suite: str) -> dict[str, dict[str, float]]:
    """By model and problem of a suite, the share of right samples; without the models that were not asked it.

    folder: evaluation/rows of a night.
    """
    found: dict[str, dict[str, float]] = {}
    for path in sorted(folder.glob("*.parquet")):
        frame = pq.read_table(path, columns=["suite", "problem", "score"]).to_pandas()
        means = frame[frame["suite"] == suite].groupby("problem", sort=False)["score"].mean()
        if len(means):
            found[path.stem] = {str(problem): float(value) for problem, value in means.items()}
    return found


def said(gain: Interval) -> str:
    """A gain with its interval, for a table."""
    return f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"


def paired_gain(shares: Shares, ours: str, theirs: str) -> Interval:
    """The mean difference of two models over the problems that both were asked, with its bootstrap interval."""
    both = [problem for problem in shares[ours] if problem in shares[theirs]]
    differences = np.array([[shares[ours][problem] - shares[theirs][problem]] for problem in both])
    (interval,) = bootstrap_intervals(differences, CONFIDENCE, RESAMPLES, seed=0)
    return interval
