"""The likelihood scan along several rays: each has its own horizon, and which is worth a race shows before any answer.

The rays are those of `extrapolate` (window/request.py): its own, and its variants, one of which may leave its step
sizes to be fitted (fitting.py). All are judged on the same completions, on which no size was fitted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from relex.forecast.subspace import Array
from relex.stages.diagnose import scan
from relex.stages.diagnose.fitting import FEWEST, fitted_sizes, halves, right_of
from relex.stages.diagnose.moving_model import MovingModel
from relex.stages.diagnose.params import Diagnose
from relex.window.request import Request
from relex.window.rows import Window

FITTED = "fitted"  # in the place of a variant's `kinds`


@dataclass(frozen=True)
class Scans:
    """What all scans of one window have in common. grams: G [T, T] by tensor; table: of policy.completions.SCHEMA."""

    window: Window
    grams: Mapping[str, Array]
    table: pa.Table
    temperature: float
    section: Diagnose

    @property
    def problems(self) -> list[str]:
        """Ids, one a completion."""
        return list(self.table.column("problem_id").to_pylist())

    def along(self, request: Request, what: str) -> dict[str, Any]:
        """scan.statistics along the request's ray, beside the last observed step; suggested: its best horizon; judged:
        mean log-likelihood there [nats] of the right completions of the problems that judge. what: the bar's name."""
        last = self._last(request)
        steps = scan.horizons(last, self.section.scan_reach, self.section.scan_horizons)
        moving = self._moving(request, steps)
        likelihoods = scan.likelihood_table(moving, range(1 + len(steps)), self.table, self.temperature, what)
        problems = self.problems
        rest = (self.table.column("log_probability").to_numpy(), self.table.column("reward").to_numpy(), problems)
        curves = scan.statistics(likelihoods[1:], *rest, steps)
        before = scan.statistics(likelihoods[:1], *rest, [last])
        names = ("right", "wrong", "margin", "expected_reward", "effective_samples")
        curves["observed"] = {name: before[name][0] for name in names}
        curves["suggested"] = suggested = scan.suggested(curves)
        judges = halves(problems)[1]
        at = None if suggested is None else likelihoods[1 + steps.index(suggested)]
        curves["judged"] = None if at is None else scan.mean_right(at, rest[1], problems, judges)
        return curves

    def sizes(self, request: Request, horizon: int) -> dict[str, float] | None:
        """Step sizes by group (forecast/kinds.py), in units of the request's forecast for `horizon`; None where too few
        problems have right completions."""
        right = right_of(self.table, halves(self.problems)[0])
        if right.problems < FEWEST:
            return None
        return fitted_sizes(self._moving(request, [horizon]), self.window.names, right, self.temperature)

    def _last(self, request: Request) -> int:
        return request.used_steps(self.window.steps)[-1]

    def _moving(self, request: Request, steps: list[int]) -> MovingModel:
        """At point 0 the last observed step, then the forecasts for `steps`."""
        ray = dataclasses.replace(request, targets=tuple(steps), mode="extrapolate")
        window = self.window
        observed = np.eye(len(window.steps))[[window.steps.index(self._last(request))]]
        return MovingModel(
            window,
            lambda name: np.concatenate([observed, ray.weights(name, self.grams[name], window.steps)]),
            device=request.options.device,
            budget=request.options.budget,
        )


def portfolio(
    scans: Scans, request: Request, own: Mapping[str, Any], rays: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """By ray beside the request's own: what along() says, and `kinds`, where its sizes were fitted. rays: by name what
    each changes of the request. A ray whose sizes cannot be fitted is left out, and so are all without a horizon."""
    found = {}
    for name, changes in rays.items():
        fitted = changes.get("kinds") == FITTED
        named = {key: value for key, value in changes.items() if key != "soup" and not (fitted and key == "kinds")}
        one = request.vary(**named)
        sizes = None
        if fitted:
            if own["suggested"] is None or (sizes := scans.sizes(one, own["suggested"])) is None:
                continue
            one = one.vary(kinds=sizes)
        curves = scans.along(one, f"scan, {name}")
        if curves["suggested"] is not None:
            found[name] = {**curves, **({"kinds": sizes} if sizes else {})}
    return found
