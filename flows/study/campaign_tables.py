"""The campaigns' page: what each hop reached, and when true RLVR reaches the same. Pure, but for the picture's file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from relex.ledger.lines import Right
from relex.ledger.true_rlvr import Point, reached
from relex.registry.store.night import Accuracy

_READ = """A hop trains a few steps from the last champion, extrapolates to where a scan points, and proves. Steps are
optimiser steps of RLVR; seconds are those of the stages on this machine, `all` with diagnosis, extrapolation and proof
(without the pretraining of the base, which both share). True RLVR has a test accuracy at the step at which the straight
lines between its evaluated checkpoints first reach it; the range is where they reach the ends of the accuracy's own
95 % interval. Its seconds are of training alone, as nobody has to prove it. All are asked the same test problems,
which decide nothing."""


@dataclass(frozen=True)
class Campaign:
    """One campaign. rows: its ledger. curve: true RLVR from the same base, () where there is none; true_steps: the
    last of it."""

    seed: int
    rows: Sequence[dict[str, Any]]
    curve: tuple[Point, ...]
    true_steps: int

    @property
    def hops(self) -> list[dict[str, Any]]:
        return [row for row in self.rows if row["kind"] == "hop"]

    @property
    def nights(self) -> list[dict[str, Any]]:
        return [row for row in self.rows if row["kind"] == "night"]


def seconds_of(row: dict[str, Any]) -> tuple[float, float]:
    """Of a line of the ledger, the campaign's seconds so far: of training, and of everything but the base."""
    seconds = row["total"]["seconds"]
    return seconds.get("train", 0.0), sum(value for stage, value in seconds.items() if stage != "base")


def page(campaigns: Sequence[Campaign], command: str, beside: Sequence[str] = ()) -> str:
    """docs/campaign.md. beside: lines on the first seed's night in other ways."""
    lines = ["# Nights that add up, beside true RLVR", "", "Made by", "", f"    {command}", "", _READ, ""]
    if any(campaign.curve for campaign in campaigns):
        lines += ["![accuracy against trained steps](campaign.svg)", ""]
        lines += ["## After each night, over all seeds", "", *_overview(campaigns), ""]
    if beside:
        lines += [f"## The first night of seed {campaigns[0].seed} in other ways", "", *beside, ""]
    for campaign in campaigns:
        lines += [f"## Seed {campaign.seed}", "", *_hops(campaign), ""]
        if campaign.curve:
            lines += [*_true(campaign), ""]
    return "\n".join(lines)


def _overview(campaigns: Sequence[Campaign]) -> list[str]:
    lines = [
        "| night | seed | trained steps | test | ood | true RLVR has it at step | times fewer steps | seconds, all "
        "| true RLVR's seconds to there | share |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    most = max(len(campaign.nights) for campaign in campaigns)
    for night in range(most):
        ratios, shares = [], []
        for campaign in campaigns:
            if night >= len(campaign.nights):
                lines.append(f"| {night + 1} | {campaign.seed} | plateau | | | | | | | |")
                continue
            row = campaign.nights[night]
            found = reached(campaign.curve, row["right"]["test"]["value"])
            steps, (_, every) = row["total"]["steps"], seconds_of(row)
            if found is not None:
                ratios.append(found[0] / steps)
                shares.append(every / found[1] if found[1] else float("inf"))
            cells = (
                [f"{found[0] / steps:.1f}", f"{every:.0f}", f"{found[1]:.0f}", f"{100 * every / found[1]:.0f} %"]
                if found
                else [f"more than {campaign.true_steps / steps:.1f}", f"{every:.0f}", "-", "-"]
            )
            lines.append(
                f"| {night + 1} | {campaign.seed} | {steps} | {_right(row, 'test')} | {_right(row, 'ood')} "
                f"| {_when(campaign, row)} | {' | '.join(cells)} |"
            )
        if len(campaigns) > 1 and len(ratios) == len(campaigns):
            mean = f"**{np.mean(ratios):.1f}** | | | **{100 * np.mean(shares):.0f} %**"
            lines.append(f"| {night + 1} | **mean** | | | | | {mean} |")
    return lines


def _hops(campaign: Campaign) -> list[str]:
    lines = [
        "| night | hop | began | steps | all steps | rollouts, all | proof rows, all | seconds of training, all "
        "| seconds, all | outcome | test | ood | true RLVR has it at step |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in campaign.hops:
        total, (training, every) = row["total"], seconds_of(row)
        came = f"step {row['step']}" if row["accepted"] else "refused"
        lines.append(
            f"| {row['night']} | {row['hop']} | {row['mode']} | {row['spent']['steps']} | {total['steps']} "
            f"| {total['rollouts']:,} | {sum(total['rows'].values()):,} | {training:.0f} | {every:.0f} | {came} "
            f"| {_right(row, 'test')} | {_right(row, 'ood')} | {_when(campaign, row)} |"
        )
    return lines


def _true(campaign: Campaign) -> list[str]:
    head = ["True RLVR from the same base:", "", "| step | seconds of training | test | ood |", "|---|---|---|---|"]
    return head + [
        f"| {point.step} | {point.seconds:.0f} | {interval(point.test)} | {interval(point.ood)} |"
        for point in campaign.curve
    ]


def _when(campaign: Campaign, row: dict[str, Any]) -> str:
    """The step of true RLVR, with the range of the accuracy's interval."""
    if not campaign.curve:
        return "-"
    cell = row["right"]["test"]
    found, low, high = (reached(campaign.curve, cell[key]) for key in ("value", "low", "high"))
    if found is None:
        return f"not reached by step {campaign.true_steps}"
    first = f"{low[0]:.0f}" if low else "0"
    return f"{found[0]:.0f} ({first} to {f'{high[0]:.0f}' if high else f'beyond {campaign.true_steps}'})"


def _right(row: dict[str, Any], suite: str) -> str:
    cell = row["right"].get(suite)
    return "-" if cell is None else interval(Right.model_validate(cell))


def right_of(found: Accuracy | None) -> Right | None:
    """An accuracy of the evaluation as the ledger has it."""
    return None if found is None else Right(value=found.value, low=found.low, high=found.high)


def interval(found: Right) -> str:
    """A share with its interval."""
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def picture(campaigns: Sequence[Campaign], path: Path) -> None:
    """Test accuracy against trained steps: a campaign's hops and true RLVR, a colour a seed; as SVG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for number, campaign in enumerate(campaigns):
        colour = f"C{number}"
        first = campaign.hops[0]["before"].get("test", {}).get("value")
        steps = [0, *(row["total"]["steps"] for row in campaign.hops)]
        values = [first, *(row["right"]["test"]["value"] for row in campaign.hops)]
        axes.plot(steps, values, color=colour, marker="o", label=f"seed {campaign.seed}: hops, each proven")
        if campaign.curve:
            axes.plot(
                [point.step for point in campaign.curve],
                [point.test.value for point in campaign.curve],
                color=colour,
                linestyle="--",
                marker=".",
                label=f"seed {campaign.seed}: true RLVR",
            )
    axes.set_xscale("symlog", linthresh=12)
    axes.set_xlabel("trained steps of RLVR (logarithmic)")
    axes.set_ylabel("share of right samples on test")
    axes.set_ylim(0.0, 1.0)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    with matplotlib.rc_context({"svg.hashsalt": "campaign", "svg.fonttype": "none"}):
        figure.savefig(path, format="svg", metadata={"Date": None})
