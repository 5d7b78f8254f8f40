"""The likelihood scan along several rays: each has its own horizon, and which is worth a race shows before any answer.

The rays are those of `extrapolate` (window/request.py): its own, and its variants, one of which may leave its step
sizes to be fitted (fitting.py). All are judged on the same completions, on which no size was fitted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from relex.core.right import RIGHT
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
        """scan.statistics along the request's ray, beside the last observed step, and what _judged() says. what: the
        bar's name."""
        steps, likelihoods = self._likelihoods(request, self.table, what)
        rest = (self.table.column("log_probability").to_numpy(), self.table.column("reward").to_numpy(), self.problems)
        curves = scan.statistics(likelihoods[1:], *rest, steps)
        before = scan.statistics(likelihoods[:1], *rest, [self._last(request)])
        names = ("right", "wrong", "margin", "expected_reward", "effective_samples")
        curves["observed"] = {name: before[name][0] for name in names}
        right = self.table.column("reward").to_numpy() > RIGHT
        named = [name for name, one in zip(self.problems, right, strict=True) if one]
        return self._judged(curves, likelihoods[1:, right], named)

    def right_along(self, request: Request, what: str) -> dict[str, Any]:
        """scan.right_statistics along a ray: right completions alone say where it should stop, and what it is worth."""
        right = self.table.filter(pc.greater(self.table.column("reward"), RIGHT))
        steps, likelihoods = self._likelihoods(request, right, what)
        named = list(right.column("problem_id").to_pylist())
        return self._judged(scan.right_statistics(likelihoods[1:], named, steps), likelihoods[1:], named)

    def _likelihoods(self, request: Request, table: pa.Table, what: str) -> tuple[list[int], Array]:
        """The horizons [P], and the table's likelihoods [1 + P, N] at the last observed step and at each of them."""
        last = self._last(request)
        steps = scan.horizons(last, self.section.scan_reach, self.section.scan_horizons)
        moving = self._moving(request, steps)
        return steps, scan.likelihood_table(moving, range(1 + len(steps)), table, self.temperature, what)

    def _judged(self, curves: dict[str, Any], likelihoods: Array, problems: Sequence[str]) -> dict[str, Any]:
        """suggested: the ray's best horizon; judged: mean log-likelihood there [nats] of the right completions of the
        problems that judge. likelihoods [P, N] of right completions; problems [N]."""
        suggested = scan.suggested(curves)
        judged = None
        if suggested is not None:
            at = curves["horizons"].index(suggested)
            judged = scan.mean_right(likelihoods[at : at + 1], problems, halves(self.problems)[1])[0]
        return {**curves, "suggested": suggested, "judged": judged}

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
    """By ray beside the request's own: what right_along() says, and `kinds`, where its sizes were fitted. rays: by name
    what each changes of the request. A ray whose sizes cannot be fitted is left out; without right completions all."""
    found: dict[str, dict[str, Any]] = {}
    if own["suggested"] is None:
        return found
    for name, changes in rays.items():
        fitted = changes.get("kinds") == FITTED
        named = {key: value for key, value in changes.items() if key != "soup" and not (fitted and key == "kinds")}
        one = request.vary(**named)
        sizes = None
        if fitted:
            if (sizes := scans.sizes(one, own["suggested"])) is None:
                continue
            one = one.vary(kinds=sizes)
        found[name] = scans.right_along(one, f"scan, {name}") | ({"kinds": sizes} if sizes else {})
    return found
