"""What the section `evaluate` refuses of the proof's limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from relex.core.errors import InputErrors
from relex.stages.evaluate.suites.sampling import resolve
from tests.builders.contests import write_params

NO_BUDGET = {"rows": None, "share": None, "minutes": None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"proof": {"first": 50, "race_samples": 8, "samples": 4}}, r"race_samples \(8\) must not be above samples"),
        ({"proof": {"first": 0, "race_samples": 4, "samples": 4}}, "greater than 0"),
        ({"budget": NO_BUDGET | {"rows": 0}}, "greater than 0"),
        ({"budget": NO_BUDGET | {"minutes": -1.0}}, "greater than 0"),
        ({"budget": NO_BUDGET | {"share": float("inf")}}, "finite number"),
        ({"budget": {"rows": 100}}, "the key is missing"),
        ({"report": "all"}, "give budget.rows, budget.share or budget.minutes"),
        ({"pass_k": [1, 8]}, r"pass_k \(8\) must not exceed samples \(4\)"),
        ({"halving": {"above": 8, "keep": 4}}, "unknown key"),
    ],
)
def test_impossible_limits_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputErrors, match=message):
        write_params(tmp_path, {f"evaluate.{key}": value for key, value in changes.items()})


@pytest.mark.parametrize("budget", [{"rows": 5000}, {"share": 0.5}, {"minutes": 30.0}])
def test_everything_is_reported_where_a_budget_bounds_it(tmp_path: Path, budget: dict[str, Any]) -> None:
    params = write_params(tmp_path, {"evaluate.report": "all", "evaluate.budget": NO_BUDGET | budget})
    assert params.evaluate.report == "all"


def test_a_greedy_suite_has_one_sample_of_the_usual_number(tmp_path: Path) -> None:
    evaluate = write_params(tmp_path, {"evaluate.temperature": 0.0}).evaluate
    assert [resolve(suite, evaluate).samples for suite in evaluate.suites] == [1, 1, 1]
