"""What MLflow's pages show of an evaluation: the names of metrics, a table, a note on each run. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from relex.registry.store.night import accuracy, suites

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def model_metrics(evaluation: dict[str, Any], model: str) -> dict[str, float]:
    """What was measured of one model: eval/<suite>/<metric>, and apart from it the interval's ends.

    The ends are eval_interval/<suite>/<metric>_low and _high: MLflow makes a section of charts of every prefix. Its
    pages list metrics as they were logged and its comparison begins with the first, so the measurements come first.
    """
    measured: dict[str, Any] = {}
    ends: dict[str, Any] = {}
    for suite in suites(evaluation):
        for name, cell in evaluation["metrics"].get(model, {}).get(suite, {}).items():
            measured[f"eval/{suite}/{name}"] = cell["value"] if isinstance(cell, dict) else cell
            if isinstance(cell, dict):
                ends |= {f"eval_interval/{suite}/{name}_{end}": cell[end] for end in ("low", "high")}
    return {name: float(value) for name, value in (measured | ends).items() if _is_number(value)}


def accuracy_table(evaluation: dict[str, Any]) -> dict[str, list[Any]]:
    """One row per model and suite, as columns: who, the share of right samples with its interval, other metrics.

    The share stands under one name, `right`: how many samples a problem it is of differs, and is in `samples`.
    """
    rows: list[dict[str, Any]] = []
    for suite in suites(evaluation):
        for model, about in evaluation["models"].items():
            metrics = evaluation["metrics"].get(model, {}).get(suite)
            cell = accuracy(evaluation, model, suite)
            if metrics is None or cell is None:
                continue
            row = {"suite": suite, "model": model, "step": about.get("step")}
            row |= {"right": cell.value, "low": cell.low, "high": cell.high}
            row |= {n: v["value"] if isinstance(v, dict) else v for n, v in metrics.items() if n != cell.name}
            rows.append(row)
    columns = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in columns}


def note(evaluation: dict[str, Any], model: str) -> str:
    """One line on a model: what it is, and its share of right samples on every suite."""
    about = evaluation["models"][model]
    kind = {"base": "The base model", "observed": "The last trained checkpoint", "champion": "The champion"}.get(
        about["kind"], "A forecast"
    )
    step = about.get("step")
    parts = [
        f"{suite} {cell.value:.1%} ({cell.low:.1%} to {cell.high:.1%})"
        for suite in suites(evaluation)
        if (cell := accuracy(evaluation, model, suite))
    ]
    return f"{kind}{f', optimiser step {step}' if step else ''}. Right samples: {', '.join(parts)}."


def numbers(prefix: str, value: Any) -> Iterator[tuple[str, float]]:
    """Every finite number in nested mappings, under its path."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from numbers(f"{prefix}/{key}", item)
    elif _is_number(value):
        yield prefix, float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


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
