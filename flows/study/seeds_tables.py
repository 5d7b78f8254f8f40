"""The study's page: one table a night, in Markdown, every figure from that night's metrics and rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from flows.study.rows import Shares, paired_gain, said
from flows.summary import right

_CAVEATS = """Read with care: the task is tiny, and its base was made for the method (a corpus that mixes a right and a
wrong procedure). Explained share and R^2 in the window are near 1 whether or not the forecast is good, and a random
walk comes close to them. The best step is chosen on validation, never on the test problems shown here."""


def page(nights: Sequence[Mapping[str, Any]], true_steps: int, command: str) -> str:
    """docs/study.md."""
    lines = ["# The embedded default over several seeds", "", "Made by", "", f"    {command}", "", _CAVEATS, ""]
    lines += ["## In one table", "", *_overview(nights), ""]
    for night in nights:
        lines += [f"## {night['name']}", "", *_night(night, true_steps), ""]
    return "\n".join(lines)


def _overview(nights: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [
        "| night | decision | winner | last observed on test | winner on test | gain on test, 95 % interval "
        "| rows of the proof | in multiples of the rollouts |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for night in nights:
        decision, winner = night["decision"], night["decision"]["winner"]
        won, gain = "-", "-"
        if decision["promote"]:
            won = f"{_measured(night['evaluation'], winner, 'test')['value']:.3f}"
            gain = _gain(night["shares"], winner) if winner != "observed" else "-"
        observed = _measured(night["evaluation"], "observed", "test")["value"]
        spent = _proof_rows(night)
        rows.append(
            f"| {night['name']} | {decision['outcome']} | {winner or '-'} | {observed:.3f} | {won} | {gain} "
            f"| {spent:,} | {spent / night['train']['completions']:.2f} |"
        )
    mean = sum(_proof_rows(night) for night in nights) / len(nights)
    return [
        *rows,
        "",
        f"Race, gate and guards took {mean:,.0f} rows a night on average; what is reported is extra.",
    ]


def _night(night: Mapping[str, Any], true_steps: int) -> list[str]:
    train, diagnosis, spent = night["train"], night["diagnosis"], night["decision"]["spent"]
    rows = [
        f"{train['steps']} observed steps, reward of the rollouts {train['reward_first']:.3f} -> "
        f"{train['reward_last']:.3f}. {diagnosis['says']}",
        "",
        f"Decision: {night['decision']['sentence']} It took {spent['race']:,} rows of the race, {spent['gate']:,} of "
        f"the gate and {spent['guards']:,} of the guards.",
        "",
        "| model | step | test | ood | test gain over last observed |",
        "|---|---|---|---|---|",
    ]
    for name, facts in night["evaluation"]["models"].items():
        test, ood = (_measured(night["evaluation"], name, suite) for suite in ("test", "ood"))
        gain = "" if name in ("base", "observed") else _gain(night["shares"], name)
        mark = " **chosen**" if name == night["decision"]["winner"] else ""
        rows.append(f"| {name}{mark} | {facts['step']} | {_interval(test)} | {_interval(ood)} | {gain} |")
    if "true" in night:
        test, ood = (_measured(night["true"], "observed", suite) for suite in ("test", "ood"))
        rows.append(f"| true RLVR | {true_steps} | {_interval(test)} | {_interval(ood)} | |")
    return rows + _scan(night)


def _scan(night: Mapping[str, Any]) -> list[str]:
    """The likelihood scan's horizon beside the grid that generation judged."""
    scan = night["diagnosis"].get("scan")
    models = night["evaluation"]["models"]
    grid = {facts["step"]: name for name, facts in models.items() if facts["kind"] == "candidate"}
    if not scan or not grid:
        return []
    horizon = scan["suggested"]
    nearest = min(grid, key=lambda step: abs(math.log(step / horizon)))
    ranked = sorted(grid, key=lambda step: -_measured(night["evaluation"], grid[step], "test")["value"])
    return [
        "",
        f"The scan, which generates nothing, suggests step {horizon} (90 % over prompts: "
        f"{scan['peaks']['right']['low']} to {scan['peaks']['right']['high']}). Of the {len(grid)} steps that "
        f"generation judged, the nearest is {nearest}: number {ranked.index(nearest) + 1} by test accuracy "
        f"(the best are {', '.join(str(step) for step in ranked[:3])}).",
    ]


def _measured(evaluation: Mapping[str, Any], model: str, suite: str) -> Mapping[str, float]:
    found = right(evaluation["metrics"][model][suite])
    if found is None:
        raise ValueError(f"{model} was not asked {suite}")
    return found


def _proof_rows(night: Mapping[str, Any]) -> int:
    return sum(night["decision"]["spent"].values())


def _interval(metric: Mapping[str, float]) -> str:
    return f"{metric['value']:.3f} [{metric['low']:.3f}, {metric['high']:.3f}]"


def _gain(shares: Shares, ours: str) -> str:
    """What a model gains over the last observed checkpoint on the same problems, with its bootstrap interval."""
    return said(paired_gain(shares, ours, "observed"))
