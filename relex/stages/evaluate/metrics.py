"""From rows to metrics: each a mean over problems with its bootstrap interval. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from relex.stages.evaluate.schema import NON_FINITE
from relex.stages.evaluate.statistics import bootstrap_intervals, pass_at_k
from relex.stages.evaluate.votes import majority, votes

_DIGITS = 6  # of the metrics files


def summarise(table: pa.Table, pass_k: tuple[int, ...], confidence: float, resamples: int, seed: int) -> dict[str, Any]:
    """Metrics of one model on one suite.

    table: rows (schema.py), the samples of a problem side by side. Returns avg_at_<k>, pass_at_<k>, majority_at_<k>,
    truncated, unparsable, non_finite and timed_out as {"value", "low", "high"}, and the counts problems, samples and
    tokens. For majority_at_<k>, samples vote for the same answer when `votes` says so.
    """
    problems = table.column("problem").to_pylist()
    samples = sum(1 for problem in problems if problem == problems[0])
    shape = (len(problems) // samples, samples)

    def column(name: str) -> np.ndarray:
        return np.array(table.column(name).to_pylist(), dtype=object).reshape(shape)

    right = column("score").astype(np.float64)
    extracted = column("extracted")
    columns = {f"avg_at_{samples}": right.mean(axis=1)}
    for k in (k for k in pass_k if k <= samples):
        columns[f"pass_at_{k}"] = pass_at_k(right.sum(axis=1).round().astype(np.int64), samples, k)
    columns[f"majority_at_{samples}"] = np.array(
        [
            majority(votes(list(answers), list(values)), [bool(value) for value in values])
            for answers, values in zip(extracted, right, strict=True)
        ]
    )
    columns["truncated"] = (column("finish_reason") == "length").mean(axis=1)
    columns["unparsable"] = (extracted == None).mean(axis=1)  # noqa: E711  elementwise
    columns["non_finite"] = (column("finish_reason") == NON_FINITE).mean(axis=1)
    columns["timed_out"] = column("timed_out").astype(np.float64).mean(axis=1)
    intervals = bootstrap_intervals(np.stack(list(columns.values()), axis=1), confidence, resamples, seed)
    metrics: dict[str, Any] = {
        name: {"value": round(i.value, _DIGITS), "low": round(i.low, _DIGITS), "high": round(i.high, _DIGITS)}
        for name, i in zip(columns, intervals, strict=True)
    }
    return metrics | {"problems": shape[0], "samples": samples, "tokens": int(sum(table.column("tokens").to_pylist()))}
