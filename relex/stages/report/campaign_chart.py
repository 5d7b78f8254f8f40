"""The chart of the campaign: share of right samples against what was trained, and against all seconds spent; beside it
true RLVR, where its curve is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from relex.ledger.lines import Right, Spent
from relex.ledger.true_rlvr import Curve, Point
from relex.stages.report.campaign import Campaign
from relex.stages.report.svg import COLOURS, NARROW, SERIES, WIDE, svg

_LOOKS = tuple(zip(SERIES * 9, "os^Dv" * 9, strict=False))  # colour and marker of each suite
_TRUE = ("test", "ood")  # suites of a curve
_DASHES = (0, (4, 2))
_LONGER = 2.5  # times the campaign: a curve beyond that would squeeze the hops against the axis
_UNITS = ((3600.0, "hours"), (60.0, "minutes"), (1.0, "seconds"))


@dataclass(frozen=True)
class _Axis:
    """What lies along x: of what a campaign spent, and of a point of true RLVR."""

    of: Callable[[Spent], float]
    of_true: Callable[[Point], float]
    label: str


def campaign_charts(campaign: Campaign, suites: Sequence[str], true_rlvr: Curve | None = None) -> dict[str, Markup]:
    """Against cumulative steps and against cumulative seconds, side by side ("wide") or stacked ("narrow"): a line a
    suite from the base on, a point a hop with its interval, open where it was refused, a dotted line at the present.
    true_rlvr: dashed, its seconds of training; the campaign's are then without the base's making, which both need."""
    title = "Share of right samples after each hop, against trained steps and against seconds of training and proof"
    if true_rlvr:
        title += ", beside true RLVR"
    shown = true_rlvr.points if true_rlvr else ()

    def draw(figure: Figure, wide: bool) -> None:
        both = figure.subplots(1, 2, sharey=True) if wide else figure.subplots(2, 1)
        for axes, along in zip(both, _along(campaign, true_rlvr is not None), strict=True):
            _panel(axes, campaign, suites, along, shown)
        for axes in both if not wide else both[:1]:
            axes.set_ylabel("share of right samples")
        _legend(both[0], suites, any(line.refused for line in campaign.lines), true_rlvr is not None)
        handles, labels = both[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3 if wide else 2)

    return {
        "wide": svg("campaign-wide", WIDE, 340 if true_rlvr else 320, title, lambda figure: draw(figure, True)),
        "narrow": svg("campaign-narrow", NARROW, 580 if true_rlvr else 540, title, lambda figure: draw(figure, False)),
    }


def _along(campaign: Campaign, beside: bool) -> tuple[_Axis, _Axis]:
    """Steps, and seconds in the unit that suits the campaign. beside: whether true RLVR is drawn too."""
    spent = campaign.lines[-1].total
    seconds = spent.seconds_from_base if beside else spent.all_seconds
    length, unit = next((one for one in _UNITS if seconds >= 2 * one[0]), _UNITS[-1])
    steps = _Axis(
        lambda spent: spent.steps,
        lambda point: point.step,
        "trained steps" + (" of the campaign" if not beside else ""),
    )
    if not beside:
        return steps, _Axis(
            lambda spent: spent.all_seconds / length,
            lambda point: point.seconds / length,
            f"{unit} of all stages, training and proof",
        )
    return steps, _Axis(
        lambda spent: spent.seconds_from_base / length,
        lambda point: point.seconds / length,
        f"{unit} of training and proof, from the base on",
    )


def _panel(axes: Axes, campaign: Campaign, suites: Sequence[str], along: _Axis, true_rlvr: Sequence[Point]) -> None:
    for suite, (colour, marker) in zip(suites, _LOOKS, strict=False):
        points = [
            (along.of(line.total), line.right[suite], line.refused) for line in campaign.lines if suite in line.right
        ]
        if suite in campaign.before:
            points.insert(0, (0.0, campaign.before[suite], False))
        axes.plot([x for x, _, _ in points], [right.value for _, right, _ in points], color=colour)
        for x, right, refused in points:
            _point(axes, x, right, colour, marker, refused)
        if true_rlvr and suite in _TRUE:
            line = _straight(
                [along.of_true(point) for point in true_rlvr],
                [getattr(point, suite).value for point in true_rlvr],
            )
            axes.plot(*line, color=colour, linestyle=_DASHES, zorder=2)
    present = along.of(campaign.lines[-1].total)
    axes.axvline(present, color=COLOURS["ink"], linewidth=0.9, linestyle=(0, (2, 3)), zorder=1)
    truth = along.of_true(true_rlvr[-1]) if true_rlvr else 0.0
    axes.set_xlabel(along.label)
    if truth > _LONGER * present > 0.0:
        _logarithmic(axes, along.of(campaign.lines[0].total) or present, truth)
        axes.set_xlabel(f"{along.label} (logarithmic)")
    else:
        end = max(present, truth) or 1.0
        axes.set_xlim(-0.03 * end, 1.05 * end)
    axes.set_ylim(0.0, 1.02)
    axes.tick_params(axis="x", length=4)


def _straight(x: Sequence[float], y: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The line through the points, with more of the points on its first stretch: there a straight line bends on an axis
    by magnitude, and a chord would show more than was measured."""
    dense = np.union1d(x, np.linspace(x[0], x[1], 40))
    return dense, np.interp(dense, x, y)


def _logarithmic(axes: Axes, first: float, end: float) -> None:
    """From 0 to the first hop evenly, from there on by magnitude: so a long curve leaves the hops their room."""
    axes.set_xscale("symlog", linthresh=first)
    axes.set_xlim(-0.1 * first, 1.3 * end)
    decades = range(math.floor(math.log10(first)), math.floor(math.log10(end)) + 1)
    digits = (1, 3) if len(decades) <= 4 else (1,)
    ticks = [0.0, *(tick for at in decades for digit in digits if first / 2 <= (tick := digit * 10.0**at) <= end)]
    axes.set_xticks(ticks, [f"{tick:,.6g}" for tick in ticks])
    axes.minorticks_off()


def _point(axes: Axes, x: float, right: Right, colour: str, marker: str, refused: bool) -> None:
    axes.errorbar(
        x,
        right.value,
        yerr=[[max(right.value - right.low, 0.0)], [max(right.high - right.value, 0.0)]],
        color=colour,
        marker=marker,
        markersize=6,
        markerfacecolor=COLOURS["paper"] if refused else colour,
        markeredgewidth=1.6,
        elinewidth=1.4,
        capsize=3,
        zorder=3,
    )


def _legend(axes: Axes, suites: Sequence[str], refused: bool, true_rlvr: bool) -> None:
    for suite, (colour, marker) in zip(suites, _LOOKS, strict=False):
        axes.plot([], [], color=colour, marker=marker, markersize=6, label=suite)
    for suite, (colour, _) in zip(suites, _LOOKS, strict=False):
        if true_rlvr and suite in _TRUE:
            axes.plot([], [], color=colour, linestyle=_DASHES, label=f"true RLVR, {suite}")
    if refused:
        axes.plot(
            [],
            [],
            color=COLOURS["muted"],
            linestyle="none",
            marker="o",
            markersize=6,
            markerfacecolor=COLOURS["paper"],
            markeredgewidth=1.6,
            label="open: refused, the champion stays",
        )
