"""Champions one after another: what each answered right when it came, and what this hop decided on."""

from __future__ import annotations

from markupsafe import Markup
from matplotlib.figure import Figure

from relex.stages.report.beside import Beside, Champion
from relex.stages.report.data import Proven
from relex.stages.report.svg import COLOURS, NARROW, SERIES, WIDE, svg

_SHOWN = 30  # the latest moves: more would not fit beside each other


def shown(beside: Beside) -> list[Champion]:
    """The latest moves, the oldest of them first."""
    return beside.champions[-_SHOWN:]


def suites(night: Proven) -> list[str]:
    """The suites that are reported."""
    return [*night.evaluation.suites("test"), *night.evaluation.suites("ood")]


def tonight(night: Proven, beside: Beside) -> dict[str, float | None]:
    """By suite, what the model answers right that is promoted, or stays; None where it was not asked."""
    if beside.campaign is not None:
        known = beside.campaign.lines[-1].right
        return {suite: known[suite].value if suite in known else None for suite in suites(night)}
    found = {suite: night.evaluation.accuracy(night.decision.winner or "base", suite) for suite in suites(night)}
    return {suite: accuracy.value if accuracy else None for suite, accuracy in found.items()}


def trend_charts(night: Proven, beside: Beside) -> dict[str, Markup] | None:
    """A line a suite, a point a move and one for this hop; None where no move says what its version answered."""
    moves = shown(beside)
    if not any(move.right for move in moves):
        return None
    labels = [f"version {move.to}" if move.to else "none" for move in moves] + ["this hop"]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for suite, series, marker in zip(suites(night), SERIES * 9, "os^Dv" * 9, strict=False):
            values = [move.right.get(suite) for move in moves] + [tonight(night, beside)[suite]]
            points = [(at, value) for at, value in enumerate(values) if value is not None]
            if points:
                axes.plot(*zip(*points, strict=True), color=series, marker=marker, markersize=6, label=suite)
        every = range(0, len(labels), max(len(labels) // (12 if figure.get_figwidth() > WIDE / 100 else 4), 1))
        axes.set_xticks(list(every), [labels[at] for at in every])
        axes.set_xlim(-0.3, len(labels) - 0.7)
        axes.set_ylim(0.0, 1.02)
        axes.axvline(len(labels) - 1, color=COLOURS["ink"], linewidth=0.9, linestyle=(0, (2, 3)), zorder=1)
        axes.set_ylabel("share of right samples")
        figure.legend(loc="outside lower center", ncols=2)

    title = "Share of right samples of each champion when it came, and of this hop's decision"
    return {
        "wide": svg("trend-wide", WIDE, 280, title, draw),
        "narrow": svg("trend-narrow", NARROW, 280, title, draw),
    }
