"""The chart of accuracy against horizon: what the race saw, and what the reported problems say of those that count."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Transform, offset_copy

from relex.stages.report import words
from relex.stages.report.data import Evaluation, Proven
from relex.stages.report.names import called
from relex.stages.report.svg import COLOURS, NARROW, WIDE, svg, window_band

_SHADES = (COLOURS["ood"], COLOURS["s5"], COLOURS["s6"])
_RACE = (COLOURS["observed"], COLOURS["s6"], COLOURS["s5"], COLOURS["champion"])
_CONTROLS = (COLOURS["muted"], COLOURS["null"])
_NAMES = {
    "choose": "race (choosing problems)",
    "test": "test (same kind of problem)",
    "ood": "out of domain (harder)",
}
_LETTER = 7  # width of a digit, in the figure's own units
_APART = 4  # units between the bars of one step
_ENTRY = 17  # units of a line of the legend


@dataclass(frozen=True)
class Series:
    """A line of the chart: models of one ray on one suite, by step; its place among the bars of a step."""

    suite: str
    models: tuple[str, ...]
    label: str
    colour: str
    marker: str
    place: float


def accuracy_charts(night: Proven) -> dict[str, Markup]:
    """The same chart for a desk ("wide") and for a phone ("narrow")."""
    title = "Share of right samples against optimiser step, in the race and on test and out-of-domain problems"
    drawn = _series(night)
    entries = len(drawn) + 1 + len(night.evaluation.of_kind("champion")) * len(_reported(night.evaluation))

    def draw(figure: Figure) -> None:
        _draw(figure, night, drawn, wide=figure.get_figwidth() > WIDE / 100)

    return {
        "wide": svg("accuracy-wide", WIDE, 340 + _ENTRY * -(-entries // 3), title, draw),
        "narrow": svg("accuracy-narrow", NARROW, 310 + _ENTRY * entries, title, draw),
    }


def _reported(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    """(suite, colour, marker)."""
    found = [(suite, COLOURS["test"], "o") for suite in evaluation.suites("test")]
    return found + [(suite, shade, "s") for suite, shade in zip(evaluation.suites("ood"), _SHADES * 9, strict=False)]


def _series(night: Proven) -> list[Series]:
    """The race, a line a ray, controls last; then what is reported, of all models together."""
    evaluation = night.evaluation
    found: list[tuple[str, tuple[str, ...], str, str, str]] = []
    for kind, colours, marker in (("candidate", _RACE, "D"), ("control", _CONTROLS, "X")):
        rays = list(dict.fromkeys(words.variant(name) for name in evaluation.of_kind(kind)))
        asked = [
            (suite, ray) for suite in evaluation.suites("choose") for ray in (rays or [""] * (kind == "candidate"))
        ]
        for (suite, ray), colour in zip(asked, colours * 99, strict=False):
            names = [name for name in evaluation.of_kind(kind) if words.variant(name) == ray]
            label = ", ".join(
                [_label(evaluation, suite), *([f"control {ray}"] if kind == "control" else [ray][: bool(ray)])]
            )
            found.append((suite, (*evaluation.of_kind("observed"), *names), label, colour, marker))
    every = tuple(name for kind in ("base", "observed", "candidate") for name in evaluation.of_kind(kind))
    found += [
        (suite, every, _label(evaluation, suite), colour, marker) for suite, colour, marker in _reported(evaluation)
    ]
    return [Series(*one, place=at - (len(found) - 1) / 2) for at, one in enumerate(found)]


def _draw(figure: Figure, night: Proven, drawn: list[Series], wide: bool) -> None:
    axes = figure.subplots()
    window_band(axes, night.window, legend="observed window")
    for series in drawn:
        _line(figure, axes, night, series)
    for suite, colour, _ in _reported(night.evaluation):
        _champion(axes, night, suite, colour)
    _mark_finalist(axes, night)
    _scale(axes, night, drawn, wide)
    axes.set_ylabel("share of right samples")
    figure.legend(loc="outside lower center", ncols=3 if wide else 1)


def _line(figure: Figure, axes: Axes, night: Proven, series: Series) -> None:
    """Trained part solid up to the last observed step, forecasts dashed from there on, intervals as bars.

    Nothing is drawn across a model that was not asked: what lies there is not known. The bars of one step stand beside
    each other.
    """
    evaluation, window, colour = night.evaluation, night.window, series.colour
    models = [(evaluation.models[name].step or 0, evaluation.accuracy(name, series.suite)) for name in series.models]
    beside: Transform = offset_copy(axes.transData, figure, x=series.place * _APART, units="points")
    for (step, here), (following, there) in pairwise(models):
        if here is not None and there is not None:
            style = "solid" if following <= window else (0, (4, 2))
            axes.plot([step, following], [here.value, there.value], color=colour, linestyle=style, transform=beside)
    axes.plot([], [], color=colour, marker=series.marker, markersize=6, label=series.label)
    for step, accuracy in models:
        if accuracy is None:
            continue
        axes.errorbar(
            step,
            accuracy.value,
            yerr=[[max(accuracy.value - accuracy.low, 0.0)], [max(accuracy.high - accuracy.value, 0.0)]],
            color=colour,
            marker=series.marker,
            markersize=6,
            markerfacecolor=colour if step <= window else COLOURS["paper"],
            markeredgewidth=1.6,
            elinewidth=1.4,
            capsize=3,
            zorder=3,
            transform=beside,
        )


def _raced(night: Proven) -> dict[int, str]:
    """By step, how many problems of the race its models were asked: "50", or "50\N{EN DASH}200" where they differ."""
    evaluation, found = night.evaluation, dict[int, list[int]]()
    for name in evaluation.of_kind("observed", "candidate", "control"):
        if asked := sum(evaluation.asked(name, suite)[0] for suite in evaluation.suites("choose")):
            found.setdefault(evaluation.models[name].step or 0, []).append(asked)
    return {step: "\N{EN DASH}".join(str(one) for one in sorted({min(of), max(of)})) for step, of in found.items()}


def _label(evaluation: Evaluation, suite: str) -> str:
    role = evaluation.protocol.suites[suite].role
    if role == "ood" and suite != "ood":
        return f"{suite}, out of domain"
    if role == "choose" and suite != "choose":
        return f"race, {suite}"
    return _NAMES.get(suite, suite)


def _champion(axes: Axes, night: Proven, suite: str, colour: str) -> None:
    evaluation = night.evaluation
    for name in evaluation.of_kind("champion"):
        accuracy = evaluation.accuracy(name, suite)
        if accuracy is not None:
            axes.axhspan(accuracy.low, accuracy.high, color=COLOURS["champion"], alpha=0.10, linewidth=0)
            label = f"{called(night, name)}, {_NAMES.get(suite, suite).split(' (')[0]}"
            axes.axhline(accuracy.value, color=colour, linewidth=1.3, linestyle=(0, (1, 2)), label=label)


def _mark_finalist(axes: Axes, night: Proven) -> None:
    """A line at the candidate that met the gate, with what became of it."""
    if night.finalist is None:
        return
    step = night.evaluation.models[night.finalist].step or 0
    became = "winner" if night.decision.promote and night.decision.winner == night.finalist else "chosen, not promoted"
    axes.axvline(step, color=COLOURS["ink"], linewidth=0.9, linestyle=(0, (2, 3)), zorder=1)
    axes.annotate(
        became, (step, 0.0), (-3, 4), axes.get_xaxis_transform(), "offset points", rotation=90, ha="right", va="bottom"
    )


def _scale(axes: Axes, night: Proven, drawn: list[Series], wide: bool) -> None:
    evaluation, window = night.evaluation, night.window
    steps = sorted({evaluation.models[name].step or 0 for name in evaluation.of_kind("candidate")} | {0, window})
    axes.set_xlim(-0.02 * steps[-1], 1.04 * steps[-1])
    bars = [evaluation.accuracy(name, one.suite) for one in drawn for name in one.models]
    known = [bar for bar in bars if bar is not None]
    # From a line of the grid some way below everything to just above it: bars beside each other do not scale the axis.
    low, high = min([bar.low for bar in known], default=0.0), max([bar.high for bar in known], default=1.0)
    axes.set_ylim(bottom=max(0.0, math.floor(10 * (low - 0.05)) / 10), top=max(high, 0.1) + 0.03)
    asked = _raced(night)
    longest = max([len(text) for text in asked.values()], default=0)
    spaced = _spaced(steps, steps[-1] * max(56, _LETTER * longest + 8) / ((WIDE if wide else NARROW) - 70))
    axes.set_xticks(spaced, [str(step) for step in spaced])
    axes.set_xlabel("optimiser step")
    axes.tick_params(axis="x", length=4)
    above = axes.secondary_xaxis("top")
    multiples = [step for step in spaced if step]
    above.set_xticks(multiples, [f"{words.multiple(step, window)}\n{asked.get(step, '')}" for step in multiples])
    above.spines["top"].set_visible(False)
    above.tick_params(axis="x", length=0)
    what = "horizon in windows; below it, problems asked in the race" if asked else "horizon in windows"
    above.set_xlabel(what, color=COLOURS["muted"], labelpad=6)


def _spaced(steps: list[int], gap: float) -> list[int]:
    """The steps that leave `gap` between their labels, the last one always among them."""
    kept = [steps[-1]]
    for step in reversed(steps[:-1]):
        if kept[-1] - step >= gap:
            kept.append(step)
    return kept[::-1]
