"""The likelihood scan along the ray: where does the forecast still like what was verified to be right?

Teacher-forced log-likelihoods of verified completions at horizons from the window's end to many times it; one model
moved in place, no generation. On a task with a single right answer the peak of the mean log-likelihood of the right
completions found the best horizon every time it was tried; where many completions are right it came too early
(sharpening moves mass between right forms, and new wrong forms are not in the sample). So it places a grid, and
generation judges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from relex.core import progress
from relex.core.right import RIGHT
from relex.forecast.subspace import Array
from relex.policy.likelihood import log_likelihoods
from relex.stages.diagnose.moving_model import MovingModel

RESAMPLES = 1000
_SEED = 0


def horizons(last: int, reach: float, count: int) -> list[int]:
    """`count` distinct steps from the window's last to `reach` times it, evenly spaced in logarithm."""
    return sorted({round(step) for step in np.geomspace(last, last * max(reach, 1.0), count)})


def likelihood_table(
    moving: MovingModel, points: Sequence[int], table: pa.Table, temperature: float, what: str = "scan"
) -> NDArray[np.float64]:
    """Log-likelihoods [P, N] in nats of all N completions at each point of the moving model. what: the bar's name."""
    prompts = table.column("prompt_tokens").to_pylist()
    completions = table.column("completion_tokens").to_pylist()
    return np.stack(
        [
            log_likelihoods(moving.at(point), prompts, completions, temperature=temperature)
            for point in progress.bar(points, desc=what, unit="horizon")
        ]
    )


def statistics(
    likelihoods: Array, sampled: Array, rewards: Array, problems: Sequence[str], steps: Sequence[int]
) -> dict[str, Any]:
    """The scan's curves and peaks. Pure.

    likelihoods [P, N] at the horizons `steps` [P]; sampled [N]: log-probability when sampled; rewards [N] in [0, 1],
    right above 1/2; problems [N]: ids. Means are over completions within a prompt, then over prompts (those that have
    such completions). expected_reward: per prompt sum w r / sum w with w = exp(new - sampled), the self-normalised
    importance estimate; effective_samples: mean over prompts of (sum w)^2 / sum w^2.
    """
    by_prompt = _per_prompt(likelihoods, sampled, rewards, problems)
    return {
        "horizons": list(steps),
        "prompts": len(set(problems)),
        "completions": {"right": int((rewards > RIGHT).sum()), "wrong": int((rewards <= RIGHT).sum())},
        **_curves(by_prompt, steps, ("right", "margin", "expected_reward")),
    }


def right_statistics(likelihoods: Array, problems: Sequence[str], steps: Sequence[int]) -> dict[str, Any]:
    """The curve `right` of `statistics` and its peak, out of right completions alone: likelihoods [P, N]."""
    by_prompt = {"right": _within(likelihoods, *_numbered(problems))}
    return {"horizons": list(steps), **_curves(by_prompt, steps, ("right",))}


def mean_right(likelihoods: Array, problems: Sequence[str], among: Sequence[str]) -> list[float | None]:
    """At each horizon [P] the mean of likelihoods [P, N] of right completions within a problem, then over those of the
    problems `among` that have any; None where none has."""
    numbers, count = _numbered(problems)
    names = np.unique(np.asarray(problems))
    return _json(_mean(_within(likelihoods, numbers, count), np.isin(names, list(among))))


def _curves(by_prompt: Mapping[str, Array], steps: Sequence[int], peaked: Sequence[str]) -> dict[str, Any]:
    """Means over prompts, and the peaks of those named."""
    means = {name: _mean(values, slice(None)) for name, values in by_prompt.items()}
    count = next(iter(by_prompt.values())).shape[1]
    draws = np.random.default_rng(_SEED).integers(0, count, (RESAMPLES, count))
    return {
        **{name: _json(values) for name, values in means.items()},
        "peaks": {name: _peak(by_prompt[name], means[name], steps, draws) for name in peaked},
    }


def _numbered(problems: Sequence[str]) -> tuple[NDArray[np.int64], int]:
    """Each row's problem by number [N], in the order of their names, and how many there are."""
    names, index = np.unique(np.asarray(problems), return_inverse=True)
    return index, len(names)


def _within(values: Array, index: NDArray[np.int64], count: int) -> Array:
    """Means [P, count] of values [P, N] within a prompt; NaN where it has none."""
    totals = np.zeros((len(values), count))
    np.add.at(totals.T, index, values.T)
    sizes = np.bincount(index, minlength=count).astype(float)
    return np.where(sizes > 0, totals / np.maximum(sizes, 1.0), np.nan)


def _per_prompt(likelihoods: Array, sampled: Array, rewards: Array, problems: Sequence[str]) -> dict[str, Array]:
    """Curves [P, prompts]; NaN where a prompt has no such completion."""
    index, count = _numbered(problems)
    right = rewards > RIGHT
    ratios = likelihoods - sampled
    highest = np.full((len(likelihoods), count), -np.inf)
    np.maximum.at(highest.T, index, ratios.T)
    weights = np.exp(ratios - highest[:, index])

    def total_of(values: Array) -> Array:
        found = np.zeros((len(likelihoods), count))
        np.add.at(found.T, index, values.T)
        return found

    mass = total_of(weights)
    found = {
        "right": _within(likelihoods[:, right], index[right], count),
        "wrong": _within(likelihoods[:, ~right], index[~right], count),
    }
    found["margin"] = found["right"] - found["wrong"]
    found["expected_reward"] = total_of(weights * rewards) / mass
    found["effective_samples"] = mass**2 / total_of(weights**2)
    return found


def _mean(values: Array, prompts: Any) -> Array:
    """Mean over the chosen prompts that have a value [P]; NaN where none has."""
    chosen = values[:, prompts]
    known = ~np.isnan(chosen)
    sizes = known.sum(axis=1)
    return np.where(sizes > 0, np.where(known, chosen, 0.0).sum(axis=1) / np.maximum(sizes, 1), np.nan)


def _peak(values: Array, mean: Array, steps: Sequence[int], draws: NDArray[np.int64]) -> dict[str, Any] | None:
    """The horizon with the highest mean, and the central 90 % of that horizon over resampled prompts."""
    if np.isnan(mean).any():
        return None
    tops = [int(np.argmax(np.nan_to_num(_mean(values, draw), nan=-np.inf))) for draw in draws]
    low, high = np.quantile(np.asarray(steps)[tops], [0.05, 0.95], method="nearest")
    top = int(np.argmax(mean))
    return {"horizon": int(steps[top]), "low": int(low), "high": int(high), "value": float(mean[top])}


def _json(values: Array) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


def suggested(found: Mapping[str, Any]) -> int | None:
    """The horizon the scan points to: the peak of the right completions' likelihood; None without right ones."""
    peak = found["peaks"]["right"]
    return None if peak is None else int(peak["horizon"])
