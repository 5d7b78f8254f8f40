"""The chart of the campaign: share of right samples against what was trained, and against all seconds spent."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from relex.ledger.lines import Right, Spent
from relex.stages.report.campaign import Campaign
from relex.stages.report.svg import COLOURS, NARROW, SERIES, WIDE, svg

_LOOKS = tuple(zip(SERIES * 9, "os^Dv" * 9, strict=False))  # colour and marker of each suite
_UNITS = ((3600.0, "hours"), (60.0, "minutes"), (1.0, "seconds"))


def campaign_charts(campaign: Campaign, suites: Sequence[str]) -> dict[str, Markup]:
    """Against cumulative steps and against cumulative seconds, side by side ("wide") or stacked ("narrow"): a line a
    suite from the base on, a point a hop with its interval, open where it was refused, a dotted line at the present."""
    title = "Share of right samples after each hop, against trained steps and against seconds of training and proof"

    def draw(figure: Figure, wide: bool) -> None:
        both = figure.subplots(1, 2, sharey=True) if wide else figure.subplots(2, 1)
        length, unit = next((one for one in _UNITS if campaign.lines[-1].total.all_seconds >= 2 * one[0]), _UNITS[-1])
        _panel(both[0], campaign, suites, lambda spent: spent.steps)
        both[0].set_xlabel("trained steps of the campaign")
        _panel(both[1], campaign, suites, lambda spent: spent.all_seconds / length)
        both[1].set_xlabel(f"{unit} of all stages, training and proof")
        for axes in both if not wide else both[:1]:
            axes.set_ylabel("share of right samples")
        _legend(both[0], suites, any(line.refused for line in campaign.lines))
        handles, labels = both[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3 if wide else 2)

    return {
        "wide": svg("campaign-wide", WIDE, 320, title, lambda figure: draw(figure, True)),
        "narrow": svg("campaign-narrow", NARROW, 540, title, lambda figure: draw(figure, False)),
    }


def _panel(axes: Axes, campaign: Campaign, suites: Sequence[str], at: Callable[[Spent], float]) -> None:
    for suite, (colour, marker) in zip(suites, _LOOKS, strict=False):
        points = [(at(line.total), line.right[suite], line.refused) for line in campaign.lines if suite in line.right]
        if suite in campaign.before:
            points.insert(0, (0.0, campaign.before[suite], False))
        axes.plot([x for x, _, _ in points], [right.value for _, right, _ in points], color=colour)
        for x, right, refused in points:
            _point(axes, x, right, colour, marker, refused)
    axes.axvline(at(campaign.lines[-1].total), color=COLOURS["ink"], linewidth=0.9, linestyle=(0, (2, 3)), zorder=1)
    end = at(campaign.lines[-1].total) or 1.0
    axes.set_xlim(-0.03 * end, 1.05 * end)
    axes.set_ylim(0.0, 1.02)
    axes.tick_params(axis="x", length=4)


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


def _legend(axes: Axes, suites: Sequence[str], refused: bool) -> None:
    for suite, (colour, marker) in zip(suites, _LOOKS, strict=False):
        axes.plot([], [], color=colour, marker=marker, markersize=6, label=suite)
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
