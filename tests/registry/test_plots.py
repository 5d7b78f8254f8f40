"""The figure on MLflow's run page shows the numbers of metrics/evaluate.json, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from relex.registry.store.views import accuracy_against_step


def cell(value: float) -> dict[str, dict[str, float]]:
    return {"avg_at_8": {"value": value, "low": value - 0.1, "high": value + 0.05}}


def evaluation(*, champion: bool) -> dict[str, Any]:
    models: dict[str, dict[str, Any]] = {
        "step_000020": {"kind": "candidate", "step": 20},
        "base": {"kind": "base", "step": 0},
        "observed": {"kind": "observed", "step": 5},
        "step_000010": {"kind": "candidate", "step": 10},
    }
    metrics = {
        "step_000020": {"test": cell(0.8), "ood": cell(0.5)},
        "base": {"test": cell(0.2), "ood": cell(0.3)},
        "observed": {"test": cell(0.4), "ood": cell(0.4)},
        "step_000010": {"test": cell(0.6)},  # was not asked the other suite
    }
    if champion:
        models["champion"] = {"kind": "champion", "step": None}
        metrics["champion"] = {"test": cell(0.7), "ood": cell(0.45)}
    return {"models": models, "metrics": metrics}


def test_every_models_accuracy_stands_at_its_step_with_its_interval() -> None:
    (axes,) = accuracy_against_step(evaluation(champion=False)).axes
    drawn = {bars.get_label(): bars for bars in axes.containers}
    assert drawn.keys() == {"test", "ood"}
    line, _, (bars,) = drawn["test"].lines
    assert list(zip(*line.get_data(), strict=True)) == [(0, 0.2), (5, 0.4), (10, 0.6), (20, 0.8)]
    ends = [sorted(y for _, y in segment) for segment in bars.get_segments()]
    assert ends == [pytest.approx([value - 0.1, value + 0.05]) for value in (0.2, 0.4, 0.6, 0.8)]
    assert list(drawn["ood"].lines[0].get_xdata()) == [0, 5, 20]


def test_the_windows_end_is_marked_and_the_champion_is_a_level(tmp_path: Path) -> None:
    figure = accuracy_against_step(evaluation(champion=True))
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.lines}
    assert set(lines["trained to step 5, forecast beyond"].get_xdata()) == {5}
    assert set(lines["test, champion"].get_ydata()) == {0.7}
    assert set(lines["ood, champion"].get_ydata()) == {0.45}
    figure.savefig(tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
