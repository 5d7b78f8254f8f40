"""Figures of a night for MLflow's run page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relex.evaluation_read import accuracy, suites

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def accuracy_against_step(evaluation: dict[str, Any]) -> Figure:
    """Share of right samples of every model against the optimiser step it stands for, with intervals, a line a suite.

    The window's end is marked, and what lies beyond it was forecast. The champion has no step: it is a level.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    models: dict[str, dict[str, Any]] = evaluation["models"]
    for suite in suites(evaluation):
        points = sorted(
            (facts["step"], cell)
            for name, facts in models.items()
            if facts.get("step") is not None and (cell := accuracy(evaluation, name, suite)) is not None
        )
        errors = [[cell.value - cell.low for _, cell in points], [cell.high - cell.value for _, cell in points]]
        drawn = axes.errorbar(
            [step for step, _ in points],
            [cell.value for _, cell in points],
            yerr=errors,
            marker="o",
            markersize=4,
            linewidth=1,
            capsize=3,
            label=suite,
        )
        level = accuracy(evaluation, "champion", suite)
        if level is not None:
            axes.axhline(
                level.value, color=drawn.lines[0].get_color(), linestyle="--", linewidth=1, label=f"{suite}, champion"
            )
    for step in (facts["step"] for facts in models.values() if facts["kind"] == "observed"):
        axes.axvline(step, color="grey", linestyle=":", label=f"trained to step {step}, forecast beyond")
    axes.set(xlabel="optimiser step", ylabel="share of right samples", ylim=(0, 1))
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure
