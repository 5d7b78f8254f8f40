"""How far the forecast itself has been checked: read from metrics/diagnose.json, shown beside each candidate. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def backtest_horizon(diagnosis: Mapping[str, Any]) -> int | None:
    """The farthest step whose like was forecast well inside the window; None without a backtest.

    A backtest fits the first steps of the window and forecasts the later ones, better (skill above 0) or worse than
    standing still. Right behind the fitted steps standing still may win; what counts is how far the skill then stays
    above 0, as a multiple of the last fitted step. The whole window is trusted to the largest such multiple that no
    backtest denies.
    """
    steps = diagnosis["trajectory"]["steps"]
    held: list[float] = []
    broken: list[float] = []
    for part in diagnosis["backtest"]:
        last = steps[part["fitted_steps"] - 1]
        reach, lost = 1.0, False
        for step, skill in zip(part["forecast_steps"], part["skill"], strict=True):
            lost = lost or (skill <= 0 and reach > 1.0)
            if skill > 0 and not lost:
                reach = step / last
        (broken if lost or reach == 1.0 else held).append(reach)
    if not held and not broken:
        return None
    return int(steps[-1] * (min(broken) if broken else max(held)))


def likelihood_peak(diagnosis: Mapping[str, Any]) -> dict[str, int] | None:
    """The step at which verified completions are most likely, {"horizon", "low", "high"}; None without a scan."""
    peak = diagnosis.get("scan", {}).get("peaks", {}).get("right")
    return {key: int(peak[key]) for key in ("horizon", "low", "high")} if peak else None


def trust(diagnosis: Mapping[str, Any] | None) -> dict[str, Any]:
    """For metrics/decision.json: {"backtest_horizon", "likelihood_peak"}, each None where it is not known."""
    if diagnosis is None:
        return {"backtest_horizon": None, "likelihood_peak": None}
    return {"backtest_horizon": backtest_horizon(diagnosis), "likelihood_peak": likelihood_peak(diagnosis)}


def marks(step: int, found: Mapping[str, Any]) -> list[str]:
    """What a candidate for `step` lies beyond: "backtest", "likelihood", both, or nothing."""
    beyond = []
    if found["backtest_horizon"] is not None and step > found["backtest_horizon"]:
        beyond.append("backtest")
    if found["likelihood_peak"] is not None and step > found["likelihood_peak"]["high"]:
        beyond.append("likelihood")
    return beyond
