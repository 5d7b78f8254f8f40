"""Step sizes fitted to verified completions: how far the tensors of each kind, in each layer, should go along a ray.

A forecast goes equally far with every tensor, and the tensor that bears it least ends the horizon of all. The scan's
own measure, the mean log-likelihood of completions that were verified to be right, has a derivative by every size: that
of the weights along the tensor's direction. So a few dozen sizes are fitted by gradient, with nothing generated, and
then count as any other `kinds` (window/options.py). Whatever is fitted here is fine-tuning on those completions,
confined to one number a group: it is fitted on one half of the problems and ranked on the other; generation judges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from relex.core import progress
from relex.core.right import RIGHT
from relex.forecast.kinds import group_of
from relex.policy.likelihood import backward
from relex.stages.diagnose.moving_model import MovingModel
from relex.stages.diagnose.params import FIT_STEPS

RATE = 0.15  # of the logarithm of a size, a step of Adam's: a factor of 400 in all of them at most
FEWEST = 8  # problems with right completions; below, sizes would learn those problems
DIGITS = 3  # of a size that are kept: more depend on the machine


@dataclass(frozen=True)
class Right:
    """Distinct right completions, N of them, by tokens; shares [N] sum to one: problems alike, and within one the
    completions by how often they were sampled."""

    prompts: list[list[int]]
    completions: list[list[int]]
    shares: NDArray[np.float64]
    problems: int


def right_of(table: pa.Table, problems: Sequence[str]) -> Right:
    """The right completions of these problems, in a table of policy.completions.SCHEMA."""
    wanted, counts, owner = set(problems), dict[tuple[str, tuple[int, ...]], int](), dict[str, int]()
    prompts: dict[str, list[int]] = {}
    for row in table.select(["problem_id", "prompt_tokens", "completion_tokens", "reward"]).to_pylist():
        if row["reward"] > RIGHT and (name := row["problem_id"]) in wanted:
            key = name, tuple(row["completion_tokens"])
            counts[key] = counts.get(key, 0) + 1
            owner[name] = owner.get(name, 0) + 1
            prompts[name] = row["prompt_tokens"]
    shares = np.array([count / owner[name] / len(owner) for (name, _), count in counts.items()])
    return Right([prompts[name] for name, _ in counts], [list(tokens) for _, tokens in counts], shares, len(owner))


def halves(problems: Sequence[str]) -> tuple[list[str], list[str]]:
    """The problems to fit on and those to judge on: every other one, in the order of their names."""
    ordered = sorted(set(problems))
    return ordered[::2], ordered[1::2]


def fitted_sizes(moving: MovingModel, names: Sequence[str], right: Right, temperature: float) -> dict[str, float]:
    """Size by group of the tensors `names`: of the way from the moving model's point 0 to its point 1. All begin at 1,
    and rise and fall by factors: a tensor never turns round."""
    groups = sorted({group_of(name) for name in names})
    logs = torch.zeros(len(groups), dtype=torch.float64)
    adam = torch.optim.Adam([logs], lr=RATE, maximize=True)
    for _ in progress.bar(range(FIT_STEPS), desc="fitting step sizes", unit="step"):
        sizes = dict(zip(groups, logs.exp().tolist(), strict=True))
        model = moving.between({name: sizes[group_of(name)] for name in names})
        with moving.derivatives() as slopes:
            backward(model, right.prompts, right.completions, right.shares, temperature=temperature)
        logs.grad = torch.tensor(_by_group(slopes, sizes, groups), dtype=torch.float64)
        adam.step()
    return {group: float(f"{size:.{DIGITS}g}") for group, size in zip(groups, logs.exp().tolist(), strict=True)}


def _by_group(slopes: Mapping[str, float], sizes: Mapping[str, float], groups: Sequence[str]) -> list[float]:
    """Derivatives by the logarithms of the groups' sizes."""
    found = dict.fromkeys(groups, 0.0)
    for name, slope in slopes.items():
        found[group_of(name)] += slope * sizes[group_of(name)]
    return [found[group] for group in groups]
