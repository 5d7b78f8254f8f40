"""The report's smaller charts: reward, spectrum, coefficients, backtest, seconds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from relex.stages.report import words
from relex.stages.report.data import Night
from relex.stages.report.diagnosis import Coefficient, Peak, Scan
from relex.stages.report.svg import COLOURS, NARROW, SERIES, WIDE, svg, window_band

_AVERAGED = 9  # steps of the running mean of the reward
_RANKS = 10


def reward_chart(night: Night) -> Markup:
    """Mean reward of the rollouts at each step, with a running mean; nothing where another trainer kept them."""
    if not night.steps:
        return Markup("")
    steps, rewards = np.array([(row.step, row.reward) for row in night.steps]).T

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot(
            steps,
            rewards,
            color=COLOURS["muted"],
            linewidth=0.9,
            alpha=0.7,
            marker=".",
            markersize=4,
            label="each step",
        )
        axes.plot(steps, running_mean(rewards), color=COLOURS["observed"], linewidth=2.4, label="running mean")
        low, high = axes.get_ylim()
        axes.set_ylim(max(0.0, low - 0.05), min(1.02, high + 0.05))
        axes.set_xlabel("optimiser step")
        axes.set_ylabel("mean reward")
        axes.legend(loc="upper left", ncols=2)

    return svg("reward", NARROW, 290, "Reward of the rollouts by optimiser step", draw)


def running_mean(values: np.ndarray, width: int = _AVERAGED) -> np.ndarray:
    """Mean [T] over `width` steps around each one; fewer at the ends, where the neighbours end."""
    half = width // 2
    return np.array([values[max(at - half, 0) : at + half + 1].mean() for at in range(len(values))])


def spectrum_chart(night: Night) -> Markup:
    """Share of the movement that the first ranks explain, beside that of a walk without direction."""
    ours, walk = night.diagnosis.overall.explained_share, night.diagnosis.null.explained_share

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for shares, colour, marker, label in (
            (walk, COLOURS["null"], "s", "pure random walk"),
            (ours, COLOURS["observed"], "o", "this window"),
        ):
            ranks = np.arange(1, min(len(shares), _RANKS) + 1)
            axes.plot(ranks, shares[:_RANKS], color=colour, marker=marker, markersize=5, label=label)
        axes.annotate(
            f"{words.share(ours[0])}", (1, ours[0]), (8, -14), textcoords="offset points", color=COLOURS["observed"]
        )
        axes.annotate(
            f"{words.share(walk[0])}", (1, walk[0]), (8, -4), textcoords="offset points", color=COLOURS["muted"]
        )
        axes.set_ylim(min(0.5, min(ours[0], walk[0]) - 0.1), 1.02)
        axes.set_xticks(range(1, min(max(len(ours), len(walk)), _RANKS) + 1))
        axes.set_xlabel("rank")
        axes.set_ylabel("explained share")
        axes.legend(loc="lower right")

    return svg("spectrum", NARROW, 290, "Explained share by rank, of this window and of a random walk", draw)


def largest(night: Night) -> list[tuple[Coefficient, str]]:
    """The tensors that moved most, with their colours; all tensors together is not among them."""
    single = [line for line in night.diagnosis.coefficients if line.name in night.diagnosis.tensors]
    return list(zip(single, SERIES, strict=False))


def coefficient_charts(night: Night) -> dict[str, Markup]:
    """Rank-1 coefficients in the window and out to the targets, side by side ("wide") or stacked ("narrow")."""
    title = "Rank-1 coefficients of the largest tensors with fitted line and forecast"

    def draw(figure: Figure, wide: bool) -> None:
        near, far = figure.subplots(1, 2) if wide else figure.subplots(2, 1)
        _near(near, night)
        _far(far, night)

    return {
        "wide": svg("coefficients-wide", WIDE, 330, title, lambda figure: draw(figure, True)),
        "narrow": svg("coefficients-narrow", NARROW, 560, title, lambda figure: draw(figure, False)),
    }


def _near(axes: Axes, night: Night) -> None:
    steps = night.diagnosis.trajectory.steps
    for line, colour in largest(night):
        axes.plot(steps, line.observed, ".", color=colour, markersize=4)
        axes.plot(*zip(*line.line, strict=True), color=colour, linewidth=1.1)
    axes.set_xlim(0, night.window * 1.02)
    axes.set_title("In the window: observed (dots) and fitted line", loc="left")
    axes.set_xlabel("optimiser step")
    axes.set_ylabel("coefficient")


def _far(axes: Axes, night: Night) -> None:
    for line, colour in largest(night):
        axes.plot(*zip(*line.line, strict=True), color=colour, linewidth=2.2)
        ahead = [line.line[-1], *line.forecast]
        axes.plot(*zip(*ahead, strict=True), color=colour, linestyle=(0, (4, 2)), linewidth=1.2)
        axes.plot(
            *zip(*line.forecast, strict=True), "o", color=colour, markerfacecolor=COLOURS["paper"], markersize=4.5
        )
    window_band(axes, night.window, "window")
    axes.set_xlim(left=0)
    axes.set_title("The same lines, out to the targets", loc="left")
    axes.set_xlabel("optimiser step")


def backtest_chart(night: Night) -> Markup:
    """Skill of forecasts made inside the window, at the later observed steps."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for held, colour in zip(night.diagnosis.backtest, SERIES, strict=False):
            axes.plot(held.forecast_steps, held.skill, color=colour, label=f"fitted on {held.fitted_steps} steps")
            axes.plot(held.forecast_steps, held.null_skill, color=COLOURS["null"], linewidth=1.1, linestyle=(0, (3, 2)))
        axes.plot([], [], color=COLOURS["null"], linewidth=1.1, linestyle=(0, (3, 2)), label="random walk")
        axes.axhline(0.0, color=COLOURS["ink"], linewidth=0.9)
        axes.text(1.0, -0.04, "staying put", transform=axes.get_yaxis_transform(), ha="right", va="top", fontsize=10)
        axes.set_ylim(-1.6, 1.05)
        axes.set_xlabel("forecast step, inside the window")
        axes.set_ylabel("skill (1 is perfect)")
        figure.legend(loc="outside lower center", ncols=2)

    return svg("backtest", NARROW, 320, "Backtest skill at held-out steps of the window", draw)


def scan_chart(night: Night, scan: Scan) -> Markup:
    """Log-likelihood of verified right completions and the estimated reward, against horizon."""
    curves: tuple[tuple[str, Sequence[float | None], Peak | None, str], ...] = (
        ("log-likelihood of right answers", scan.right, scan.peaks.right, COLOURS["test"]),
        ("estimated reward", scan.expected_reward, scan.peaks.expected_reward, COLOURS["ood"]),
    )

    def draw(figure: Figure) -> None:
        both = figure.subplots(2, 1, sharex=True)
        for axes, (label, values, peak, colour) in zip(both, curves, strict=True):
            known = [(step, value) for step, value in zip(scan.horizons, values, strict=True) if value is not None]
            axes.plot(*zip(*known, strict=True), color=colour, marker=".", markersize=5, label="this forecast")
            if peak is not None:
                axes.axvspan(peak.low, peak.high, color=colour, alpha=0.12, linewidth=0)
                axes.axvline(peak.horizon, color=colour, linewidth=0.9, linestyle=(0, (2, 3)))
            axes.set_title(label, loc="left")
            axes.set_ylim(bottom=_floor([value for _, value in known]))
        first, others = both[0], night.diagnosis.rays
        for (name, ray), other in zip(others.items(), SERIES[2:], strict=False):
            points = [(step, value) for step, value in zip(ray.horizons, ray.right, strict=True) if value is not None]
            first.plot(*zip(*points, strict=True), color=other, linewidth=1.4, label=name)
        if others:
            first.legend(loc="lower left", fontsize=9)
        far = both[-1]
        far.set_xscale("log")
        ticks = log_ticks(scan.horizons[0], scan.horizons[-1])
        far.set_xticks(ticks, [str(tick) for tick in ticks])
        far.set_xticks([], minor=True)
        far.set_xlabel("forecast step, logarithmic")

    return svg("scan", NARROW, 320, "Likelihood scan along the forecast", draw)


def _floor(values: Sequence[float]) -> float | None:
    """The lowest value drawn: a collapse goes out of the picture instead of flattening the rest of it."""
    if not values:
        return None
    rise = max(max(values) - values[0], 0.05 * abs(max(values)))
    return max(min(values), values[0] - 2.0 * rise) - 0.1 * rise


def log_ticks(first: int, last: int) -> list[int]:
    """Round steps between two, about doubling."""
    rounds = [digit * 10**power for power in range(10) for digit in (1, 2, 5)]
    return [step for step in rounds if first <= step <= last] or [first]


def seconds_chart(night: Night) -> Markup:
    """Wall seconds of each stage."""
    stages = list(night.timings)[::-1]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        spent = [night.timings[stage].seconds for stage in stages]
        axes.barh(stages, spent, color=COLOURS["observed"], height=0.62)
        for stage, value in zip(stages, spent, strict=True):
            axes.annotate(words.seconds(value), (value, stage), (5, 0), textcoords="offset points", va="center")
        axes.set_xlim(0, max([*spent, 1e-9]) * 1.3)
        axes.grid(visible=False)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(axis="y", labelcolor=COLOURS["ink"])

    return svg("seconds", NARROW, 40 + 34 * len(stages), "Seconds of each stage", draw)
