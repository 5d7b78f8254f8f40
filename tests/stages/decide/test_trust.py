"""The horizon that backtests support, and what lies beyond it."""

from __future__ import annotations

from typing import Any

import pytest

from relex.stages.decide.trust import backtest_horizon, marks, trust


def diagnosis(*parts: tuple[int, dict[int, float]]) -> dict[str, Any]:
    return {
        "trajectory": {"steps": list(range(5, 46, 5))},  # 5, 10, ..., 45
        "backtest": [
            {"fitted_steps": fitted, "forecast_steps": list(skill), "skill": list(skill.values())}
            for fitted, skill in parts
        ],
        "scan": {"peaks": {"right": {"horizon": 90, "low": 80, "high": 120}}},
    }


@pytest.mark.parametrize(
    ("parts", "horizon"),
    [
        ([(3, {20: 0.5, 45: 0.8})], 135),  # fitted to 15, good to 45: three times the window
        ([(3, {20: -0.5, 30: 0.2, 45: 0.8})], 135),  # standing still wins right behind the fit, and does not count
        ([(3, {20: 0.5, 30: 0.2, 45: -0.1})], 90),  # lost after 30 of 15
        ([(3, {20: 0.5, 30: -0.2, 45: 0.3})], 60),  # what comes back later is luck
        ([(3, {20: 0.5, 45: 0.8}), (6, {35: -0.1, 45: -0.2})], 45),  # another backtest denies everything
        ([(3, {20: 0.5, 45: 0.8}), (6, {35: 0.1, 45: 0.2})], 135),
        ([(3, {20: 0.0})], 45),
    ],
)
def test_the_horizon_is_the_largest_multiple_that_no_backtest_denies(parts: list, horizon: int) -> None:
    assert backtest_horizon(diagnosis(*parts)) == horizon


def test_without_a_backtest_or_a_scan_nothing_is_marked() -> None:
    assert trust(None) == {"backtest_horizon": None, "likelihood_peak": None}
    assert trust(diagnosis() | {"scan": {"peaks": {"right": None}}}) == trust(None)
    assert marks(10_000, trust(None)) == []


def test_a_candidate_is_marked_by_each_horizon_that_it_passes() -> None:
    found = trust(diagnosis((3, {20: 0.5, 30: -0.2})))  # 60 and 120
    assert [marks(step, found) for step in (60, 61, 120, 121)] == [
        [],
        ["backtest"],
        ["backtest"],
        ["backtest", "likelihood"],
    ]
