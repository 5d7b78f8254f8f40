"""The regimes' page: what a first hop's forecasts and controls gave, and what its meters had said before. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from flows.study.rows import Shares, paired_gain, said
from flows.summary import right
from relex.ledger.true_rlvr import Point
from relex.stages.evaluate.statistics import Interval
from relex.stages.extrapolate.params import Control

OWN = "plain line"
CONTROLS = get_args(Control)
_READ = """One window of each training, and models at the same horizons along every ray. A control goes tensor by
tensor as far as the plain line does, but along its first update alone, the mean of its first three, or at random.
What stands here is the share of right samples on the test problems, which decide nothing; best is the best of the
horizons shown, chosen on these same problems, for every ray and control alike. Ruined from: the first horizon beyond
the best where the plain line falls below the last observed checkpoint. Meters are of the window alone, before
anything was generated. The regime in which the plain line gains least comes first."""

_WITHHELD = """What a horizon of the plain line answered, and how far off three ways are to tell it unasked: the
answers of all other horizons and of the last observed checkpoint, weighted by how likely this model would have given
them (the balance heuristic, which MBAR is for models whose probabilities are normalised); those of its two neighbours
alone, weighted alike; and a straight line, in the logarithm of steps, between what the two neighbours answered.
Differences are means over problems with 95 %; effective: the share of samples that count after weighting."""


@dataclass(frozen=True)
class Regime:
    """diagnosis, evaluation: the hop's metrics. shares: by model and problem of test. curve: of true RLVR on the same
    task, () where nobody has measured one. withheld: of flows/study/withheld.py."""

    name: str
    diagnosis: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    shares: Shares
    curve: Sequence[Point] = ()
    withheld: Sequence[Mapping[str, Any]] = ()

    @property
    def rays(self) -> dict[str, dict[int, str]]:
        """By name of ray or control, its models by step."""
        found: dict[str, dict[int, str]] = {}
        for model, facts in self.evaluation["models"].items():
            if facts["kind"] not in ("base", "observed"):
                ray = model.partition("-")[2] or OWN
                found.setdefault(ray, {})[facts["step"]] = model
        return {ray: dict(sorted(models.items())) for ray, models in found.items()}

    def test(self, model: str) -> float:
        """The share of right samples of a model."""
        found = right(self.evaluation["metrics"][model]["test"])
        if found is None:
            raise ValueError(f"{self.name}: {model} was not asked test")
        return found["value"]

    def best(self, ray: str) -> tuple[int, float]:
        """The step at which a ray has most right, and how many."""
        values = {step: self.test(model) for step, model in self.rays[ray].items()}
        step = max(values, key=lambda one: values[one])
        return step, values[step]

    @property
    def ruined(self) -> int | None:
        """The first horizon beyond the plain line's best at which it is below the last observed checkpoint."""
        best, observed = self.best(OWN)[0], self.test("observed")
        return next(
            (step for step, model in self.rays[OWN].items() if step > best and self.test(model) < observed), None
        )


def page(regimes: Sequence[Regime], command: str) -> str:
    """docs/regimes.md."""
    ordered = sorted(regimes, key=lambda one: one.best(OWN)[1] - one.test("observed"))
    lines = ["# Where a forecast holds", "", "Made by", "", f"    {command}", "", _READ, ""]
    lines += [
        "## What came of it",
        "",
        *_results(ordered),
        "",
        "## What the meters had said",
        "",
        *_meters(ordered),
        "",
    ]
    if any(regime.diagnosis.get("rays") for regime in ordered):
        lines += ["## What the scan had said of each ray", "", *_scans(ordered), ""]
    lines += ["## A horizon withheld", "", _WITHHELD, "", *_withheld(ordered), ""]
    for regime in ordered:
        lines += [f"## {regime.name}", "", str(regime.diagnosis["says"]), "", *_table(regime), ""]
    return "\n".join(lines)


def _results(regimes: Sequence[Regime]) -> list[str]:
    rows = [
        "| regime | base | last observed | plain line at its best | its gain, 95 % | share of true RLVR's gain to that "
        "step | ruined from | best other ray | first update at its best | mean of three updates | random | plain line "
        "minus the best control, 95 % |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for regime in regimes:
        step, value = regime.best(OWN)
        winner = regime.rays[OWN][step]
        controls = {ray: regime.best(ray) for ray in regime.rays if ray in CONTROLS}
        others = {ray: regime.best(ray) for ray in regime.rays if ray != OWN and ray not in controls}
        strongest = max(controls, key=lambda ray: controls[ray][1], default=None)
        beyond = _gain(regime, winner, regime.rays[strongest][controls[strongest][0]]) if strongest else "-"
        other = max(others.items(), key=lambda item: item[1][1], default=None)
        cells = [
            regime.name,
            f"{regime.test('base'):.3f}",
            f"{regime.test('observed'):.3f}",
            f"{value:.3f} at {step}",
            _gain(regime, winner, "observed"),
            _share_of_true(regime, step, value),
            str(regime.ruined or "-"),
            f"{other[0]}: {other[1][1]:.3f} at {other[1][0]}" if other else "-",
            *(f"{controls[kind][1]:.3f} at {controls[kind][0]}" if kind in controls else "-" for kind in CONTROLS),
            beyond,
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def _share_of_true(regime: Regime, step: int, value: float) -> str:
    """The plain line's gain over the base in units of what true RLVR gains by the same step, on straight lines between
    its evaluated checkpoints; - where that is not known."""
    for before, after in zip(regime.curve, regime.curve[1:], strict=False):
        if before.step <= step <= after.step:
            share = (step - before.step) / (after.step - before.step)
            true = before.test.value + share * (after.test.value - before.test.value)
            gained = true - regime.curve[0].test.value
            return f"{100 * (value - regime.test('base')) / gained:.0f} %" if gained > 0 else "-"
    return "-"


def _meters(regimes: Sequence[Regime]) -> list[str]:
    rows = [
        "| regime | scan's horizon | best horizon | rank 1 explains | held-out skill | cosine of updates, gap 1, 3, 10 "
        "| straight share (a random walk's) |",
        "|---|---|---|---|---|---|---|",
    ]
    for regime in regimes:
        found = regime.diagnosis
        kept = found["persistence"]
        skills = ", ".join(f"{one['skill'][-1]:.2f}" for one in found["backtest"])
        cosines = ", ".join("-" if value is None else f"{value:.2f}" for value in kept["cosine"][:3])
        rows.append(
            f"| {regime.name} | {found.get('scan', {}).get('suggested', '-')} | {regime.best(OWN)[0]} "
            f"| {found['overall']['explained_share'][0]:.3f} | {skills or '-'} | {cosines} "
            f"| {kept['straight']:.2f} ({kept['null_straight']:.2f}) |"
        )
    return rows


def _scans(regimes: Sequence[Regime]) -> list[str]:
    names = list(dict.fromkeys(name for regime in regimes for name in regime.diagnosis.get("rays", {})))
    rows = [
        "Mean log-likelihood of right completions of the problems that judge, at each ray's own horizon; the two best "
        "others race beside the plain line.",
        "",
        f"| regime | {OWN} | {' | '.join(names)} |",
        f"|---|---|{'---|' * len(names)}",
    ]
    for regime in regimes:
        found = {OWN: regime.diagnosis.get("scan", {}), **regime.diagnosis.get("rays", {})}
        cells = []
        for name in (OWN, *names):
            judged = found.get(name, {}).get("judged")
            cells.append("-" if judged is None else f"{judged:.3f} at {found[name]['suggested']}")
        rows.append(f"| {regime.name} | {' | '.join(cells)} |")
    return rows


def _withheld(regimes: Sequence[Regime]) -> list[str]:
    rows = [
        "| regime | horizon | asked | off: all others | effective | off: neighbours | effective | off: straight line |",
        "|---|---|---|---|---|---|---|---|",
    ]
    sizes: dict[str, list[float]] = {way: [] for way in ("all_others", "neighbours", "line")}
    for regime in regimes:
        for one in regime.withheld:
            for way, found in sizes.items():
                found.append(abs(one[way]["off"]))
            every, near = one["all_others"], one["neighbours"]
            rows.append(
                f"| {regime.name} | {one['step']} | {one['asked']:.3f} | {_off(every)} | {every['effective']:.2f} "
                f"| {_off(near)} | {near['effective']:.2f} | {_off(one['line'])} |"
            )
    if not sizes["line"]:
        return rows
    told = [f"{np.mean(found):.3f} ({np.max(found):.3f})" for found in sizes.values()]
    return [*rows, "", f"Mean and largest size of these: all others {told[0]}, neighbours {told[1]}, line {told[2]}."]


def _off(found: Mapping[str, float]) -> str:
    return said(Interval(found["off"], found["low"], found["high"]))


def _table(regime: Regime) -> list[str]:
    steps = sorted({step for models in regime.rays.values() for step in models})
    head = ["| ray |", *(f" {step} |" for step in steps)]
    rows = ["".join(head), f"|---|{'---|' * len(steps)}"]
    for ray, models in regime.rays.items():
        cells = (f"{regime.test(models[step]):.3f}" if step in models else "-" for step in steps)
        rows.append(f"| {ray} | {' | '.join(cells)} |")
    return rows


def _gain(regime: Regime, ours: str, theirs: str) -> str:
    return said(paired_gain(regime.shares, ours, theirs))
