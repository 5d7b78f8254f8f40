"""The held-out-step backtest in function space: what a forecast does to next-token distributions, against the truth.

For several k: fit on the first k observed steps, forecast the last observed one, and compare both the forecast and
"stay at step k" with the true checkpoint on verified completions of held-out prompts: mean KL divergence of the
next-token distribution, and mean log-likelihood of the right completions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from relex.core import progress
from relex.core.choices import Device
from relex.core.right import RIGHT
from relex.forecast.backtest import held_out_weights
from relex.forecast.subspace import Array
from relex.forecast.weights import Forecast
from relex.policy.likelihood import log_likelihoods, next_token_log_probabilities
from relex.stages.diagnose.moving_model import MovingModel
from relex.window.rows import Window

_KEPT_BYTES = 256 << 20  # next-token distributions of the true checkpoint that are held for comparison


def points(gram: Array, steps: Sequence[int], counts: Sequence[int], how: Forecast) -> Array:
    """Weights [1 + 2 n, T] of one tensor: the true last step, then stay and forecast for each of n counts."""
    total = len(steps)
    rows = [np.eye(total)[-1]]
    for count in counts:
        rows += [np.eye(total)[count - 1], held_out_weights(gram, steps, count, how)[-1]]
    return np.stack(rows)


def function_backtest(
    window: Window,
    grams: Mapping[str, Array],
    counts: Sequence[int],
    how: Forecast,
    table: pa.Table,
    *,
    temperature: float,
    device: Device,
    budget: int,
) -> list[dict[str, Any]]:
    """One entry per count: kl_forecast and kl_stay [nats per token], skill = 1 - kl_forecast / kl_stay, and the mean
    log-likelihood of right completions under forecast, stay and true weights."""
    moving = MovingModel(
        window, lambda name: points(grams[name], window.steps, counts, how), device=device, budget=budget
    )
    prompts, completions = table.column("prompt_tokens").to_pylist(), table.column("completion_tokens").to_pylist()
    right = np.flatnonzero(table.column("reward").to_numpy() > RIGHT)
    chosen = _bounded(completions, moving.model.config.get_text_config().vocab_size)

    bar = progress.bar(range(1 + 2 * len(counts)), desc="backtest in next-token distributions", unit="model")

    def look(point: int) -> tuple[torch.Tensor, float | None]:
        next(bar)
        model = moving.at(point)
        told = next_token_log_probabilities(
            model, [prompts[row] for row in chosen], [completions[row] for row in chosen], temperature=temperature
        )
        if not len(right):
            return told, None
        found = log_likelihoods(
            model, [prompts[row] for row in right], [completions[row] for row in right], temperature=temperature
        )
        return told, float(found.mean())

    true, true_likelihood = look(0)
    entries = []
    for at, count in enumerate(counts):
        stay, stay_likelihood = look(1 + 2 * at)
        kl_stay = divergence(true, stay)
        forecast, likelihood = look(2 + 2 * at)
        kl_forecast = divergence(true, forecast)
        entries.append(
            {
                "fitted_steps": count,
                "forecast_step": window.steps[-1],
                "tokens": len(true),
                "kl_forecast": kl_forecast,
                "kl_stay": kl_stay,
                "skill": 1.0 - kl_forecast / kl_stay if kl_stay > 0 else 0.0,
                "right_log_likelihood": {"forecast": likelihood, "stay": stay_likelihood, "true": true_likelihood},
            }
        )
    next(bar, None)  # to its end
    return entries


def divergence(true: torch.Tensor, other: torch.Tensor) -> float:
    """Mean over positions of KL(true || other) in nats; both log-probabilities [positions, vocabulary], float32.

    As sum p (e^d - 1 - d) with d = log q - log p, which is the same for normalised p and q: every term is positive, so
    close distributions do not drown in the rounding of sum p d.
    """
    gap = (other - true).double()
    return float((true.double().exp() * (torch.expm1(gap) - gap)).sum(dim=1).mean())


def _bounded(completions: Sequence[Sequence[int]], vocabulary: int) -> list[int]:
    """The first completions whose next-token distributions together stay under _KEPT_BYTES; at least one."""
    room = _KEPT_BYTES // (4 * vocabulary)
    chosen: list[int] = []
    for row, tokens in enumerate(completions):
        room -= len(tokens)
        if chosen and room < 0:
            break
        chosen.append(row)
    return chosen


def describes_model(base: Path) -> bool:
    """Whether a folder is a model that runs by itself; an adapter is not."""
    return (base / "config.json").exists()
