"""The chart of accuracy against horizon: what the race saw, and what the reported problems say of those that count."""

from __future__ import annotations

from itertools import pairwise

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from relex.stages.report import words
from relex.stages.report.data import Evaluation, Interval, Proven
from relex.stages.report.svg import COLOURS, NARROW, WIDE, svg, window_band

_SHADES = (COLOURS["ood"], COLOURS["s5"], COLOURS["s6"])
_RACE = (COLOURS["observed"], COLOURS["null"], COLOURS["muted"])
_NAMES = {
    "choose": "race (choosing problems)",
    "test": "test (same kind of problem)",
    "ood": "out of domain (harder)",
}


def accuracy_charts(night: Proven) -> dict[str, Markup]:
    """The same chart for a desk ("wide") and for a phone ("narrow")."""
    title = "Share of right samples against optimiser step, in the race and on test and out-of-domain problems"

    def draw(figure: Figure) -> None:
        _draw(figure, night, wide=figure.get_figwidth() > WIDE / 100)

    return {
        "wide": svg("accuracy-wide", WIDE, 400, title, draw),
        "narrow": svg("accuracy-narrow", NARROW, 400, title, draw),
    }


def _draw(figure: Figure, night: Proven, wide: bool) -> None:
    evaluation = night.evaluation
    axes = figure.subplots()
    window_band(axes, night.window, "observed window")
    reported = [(suite, COLOURS["test"], "o") for suite in evaluation.suites("test")]
    reported += [(suite, shade, "s") for suite, shade in zip(evaluation.suites("ood"), _SHADES * 9, strict=False)]
    for suite, colour in zip(evaluation.suites("choose"), _RACE * 9, strict=False):
        _line(axes, night, suite, colour, "D")
        _numbers_of_problems(axes, night, suite, colour)
    for suite, colour, marker in reported:
        _line(axes, night, suite, colour, marker)
    for suite, colour, _ in reported:
        _champion(axes, night, suite, colour)
    _mark_finalist(axes, night)
    _scale(axes, night, wide)
    axes.set_ylabel("share of right samples")
    figure.legend(loc="outside lower center", ncols=2 if wide else 1)


def _by_step(night: Proven, suite: str) -> list[tuple[int, str, Interval | None]]:
    """(step, model, accuracy) of the models that have a step; accuracy None where one was not asked this suite."""
    evaluation = night.evaluation
    names = evaluation.of_kind("base") + evaluation.of_kind("observed") + evaluation.of_kind("candidate")
    return [(evaluation.models[name].step or 0, name, evaluation.accuracy(name, suite)) for name in names]


def _line(axes: Axes, night: Proven, suite: str, colour: str, marker: str) -> None:
    """Trained part solid up to the last observed step, forecasts dashed from there on, intervals as bars.

    Nothing is drawn across a model that was not asked: what lies there is not known.
    """
    window, models = night.window, _by_step(night, suite)
    for (step, _, here), (following, _, there) in pairwise(models):
        if here is not None and there is not None:
            style = "solid" if following <= window else (0, (4, 2))
            axes.plot([step, following], [here.value, there.value], color=colour, linestyle=style)
    axes.plot([], [], color=colour, marker=marker, markersize=6, label=_label(night.evaluation, suite))
    for step, _, accuracy in models:
        if accuracy is None:
            continue
        axes.errorbar(
            step,
            accuracy.value,
            yerr=[[max(accuracy.value - accuracy.low, 0.0)], [max(accuracy.high - accuracy.value, 0.0)]],
            color=colour,
            marker=marker,
            markersize=6,
            markerfacecolor=colour if step <= window else COLOURS["paper"],
            markeredgewidth=1.6,
            elinewidth=1.4,
            capsize=3,
            zorder=3,
        )


def _numbers_of_problems(axes: Axes, night: Proven, suite: str, colour: str) -> None:
    """Above each interval of the race, how many problems it rests on: those that left early were asked fewer."""
    for step, name, accuracy in _by_step(night, suite):
        if accuracy is not None:
            number = str(night.evaluation.asked(name, suite)[0])
            axes.annotate(number, (step, accuracy.high), (0, 4), textcoords="offset points", ha="center", color=colour)


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
            who = words.model(name, evaluation.models[name], night.window, night.candidate)
            label = f"{who}, {_NAMES.get(suite, suite).split(' (')[0]}"
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


def _scale(axes: Axes, night: Proven, wide: bool) -> None:
    evaluation, window = night.evaluation, night.window
    steps = sorted({evaluation.models[name].step or 0 for name in evaluation.of_kind("candidate")} | {0, window})
    axes.set_xlim(-0.02 * steps[-1], 1.04 * steps[-1])
    axes.set_ylim(bottom=0.0, top=min(max(axes.get_ylim()[1], 0.1) + 0.06, 1.09))
    spaced = _spaced(steps, steps[-1] / (16 if wide else 7))
    axes.set_xticks(spaced, [str(step) for step in spaced])
    axes.set_xlabel("optimiser step")
    axes.tick_params(axis="x", length=4)
    above = axes.secondary_xaxis("top")
    multiples = [step for step in spaced if step]
    above.set_xticks(multiples, [words.multiple(step, window) for step in multiples])
    above.spines["top"].set_visible(False)
    above.tick_params(axis="x", length=0)
    above.set_xlabel("horizon, in multiples of the observed window", color=COLOURS["muted"], labelpad=6)


def _spaced(steps: list[int], gap: float) -> list[int]:
    """The steps that leave `gap` between their labels, the last one always among them."""
    kept = [steps[-1]]
    for step in reversed(steps[:-1]):
        if kept[-1] - step >= gap:
            kept.append(step)
    return kept[::-1]
