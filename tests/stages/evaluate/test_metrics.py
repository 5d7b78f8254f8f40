"""From rows to metrics, by hand."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from relex.stages.evaluate.metrics import summarise
from relex.stages.evaluate.schema import CACHED


def table(*problems: list[tuple[str | None, float, str]]) -> pa.Table:
    """Rows of problems, each a list of (extracted, score, finish reason)."""
    empty: dict[str, Any] = {"prompt": "", "completion": "", "tokens": 3, "timed_out": False, "seconds": 0.0}
    return pa.Table.from_pylist(
        [
            {"problem": str(i), "sample": j, "extracted": answer, "score": score, "finish_reason": reason, **empty}
            for i, samples in enumerate(problems)
            for j, (answer, score, reason) in enumerate(samples)
        ],
        schema=CACHED,
    )


def test_the_metrics_of_two_problems_are_those_counted_by_hand() -> None:
    rows = table(
        [("0.5", 1.0, "stop"), ("1/2", 1.0, "stop"), ("7", 0.0, "stop"), ("7.", 0.0, "length")],
        [("3", 0.0, "stop"), ("3.0", 0.0, "stop"), ("5", 1.0, "stop"), (None, 0.0, "length")],
    )
    found = summarise(rows, (1, 4, 8), 0.95, 200, 0)
    values = {name: metric["value"] for name, metric in found.items() if isinstance(metric, dict)}
    assert values == {
        "avg_at_4": 0.375,
        "pass_at_1": 0.375,
        "pass_at_4": 1.0,
        "majority_at_4": 0.25,  # the first problem's votes are tied, the second's 3 and 3.0 are one wrong answer
        "truncated": 0.25,
        "unparsable": 0.125,
        "non_finite": 0.0,
        "timed_out": 0.0,
    }
    assert (found["problems"], found["samples"], found["tokens"]) == (2, 4, 24)
