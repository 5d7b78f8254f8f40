"""What MLflow's pages show of an evaluation: the names of metrics, a table, a note on each run. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from relex.evaluation_read import accuracy, suites


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
    """One row per model and suite, as columns: who, the share of right samples with its interval, other metrics."""
    rows: list[dict[str, Any]] = []
    for suite in suites(evaluation):
        for model, about in evaluation["models"].items():
            metrics = evaluation["metrics"].get(model, {}).get(suite)
            cell = accuracy(evaluation, model, suite)
            if metrics is None or cell is None:
                continue
            row = {"suite": suite, "model": model, "step": about.get("step")}
            row |= {cell.name: cell.value, "low": cell.low, "high": cell.high}
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
