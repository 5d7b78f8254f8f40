"""The study's page: one table a night, in Markdown, every figure from that night's metrics and rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from relex.stages.decide.paired import paired_test
from relex.stages.decide.scores import Scores

_LEVEL = 0.025  # one-sided: the interval is a 95 % one
_RESAMPLES = 10_000

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
        "| night | decision | winner | last observed, test avg@k | winner, test avg@k | gain on test, 95 % interval |",
        "|---|---|---|---|---|---|",
    ]
    for night in nights:
        decision, winner = night["decision"], night["decision"]["winner"]
        key = _key(night)
        observed = night["evaluation"]["metrics"]["observed"]["test"][key]["value"]
        if decision["promote"]:
            won = f"{night['evaluation']['metrics'][winner]['test'][key]['value']:.3f}"
            gain = _gain(night["scores"], winner, "observed", "test") if winner != "observed" else "-"
        else:
            won, gain = "-", "-"
        rows.append(f"| {night['name']} | {decision['outcome']} | {winner or '-'} | {observed:.3f} | {won} | {gain} |")
    return rows


def _night(night: Mapping[str, Any], true_steps: int) -> list[str]:
    train, diagnosis, key = night["train"], night["diagnosis"], _key(night)
    shown = key.replace("_at_", "@")
    rows = [
        f"{train['steps']} observed steps, reward of the rollouts {train['reward_first']:.3f} -> "
        f"{train['reward_last']:.3f}. {diagnosis['says']}",
        "",
        f"Decision: {night['decision']['sentence']}",
        "",
        f"| model | step | test {shown} | ood {shown} | test gain over last observed |",
        "|---|---|---|---|---|",
    ]
    for name, facts in night["evaluation"]["models"].items():
        test, ood = (night["evaluation"]["metrics"][name][suite][key] for suite in ("test", "ood"))
        gain = "" if name in ("base", "observed") else _gain(night["scores"], name, "observed", "test")
        mark = " **chosen**" if name == night["decision"]["winner"] else ""
        rows.append(f"| {name}{mark} | {facts['step']} | {_interval(test)} | {_interval(ood)} | {gain} |")
    if "true" in night:
        test, ood = (night["true"]["metrics"]["observed"][suite][key] for suite in ("test", "ood"))
        rows.append(f"| true RLVR | {true_steps} | {_interval(test)} | {_interval(ood)} | |")
    return rows + _scan(night)


def _scan(night: Mapping[str, Any]) -> list[str]:
    """The likelihood scan's horizon beside the grid that generation judged."""
    scan, key = night["diagnosis"].get("scan"), _key(night)
    models = night["evaluation"]["models"]
    grid = {facts["step"]: name for name, facts in models.items() if facts["kind"] == "candidate"}
    if not scan or not grid:
        return []
    horizon = scan["suggested"]
    nearest = min(grid, key=lambda step: abs(math.log(step / horizon)))
    ranked = sorted(grid, key=lambda step: -night["evaluation"]["metrics"][grid[step]]["test"][key]["value"])
    return [
        "",
        f"The scan, which generates nothing, suggests step {horizon} (90 % over prompts: "
        f"{scan['peaks']['right']['low']} to {scan['peaks']['right']['high']}). Of the {len(grid)} steps that "
        f"generation judged, the nearest is {nearest}: number {ranked.index(nearest) + 1} by test accuracy "
        f"(the best are {', '.join(str(step) for step in ranked[:3])}).",
    ]


def _key(night: Mapping[str, Any]) -> str:
    return f"avg_at_{night['evaluation']['protocol']['suites']['test']['samples']}"


def _interval(metric: Mapping[str, float]) -> str:
    return f"{metric['value']:.3f} [{metric['low']:.3f}, {metric['high']:.3f}]"


def _gain(scores: Scores, ours: str, theirs: str, suite: str) -> str:
    """The paired difference of two models on the same problems, with its bootstrap interval."""
    one, other = scores.by_model[ours][suite], scores.by_model[theirs][suite]
    test = paired_test(one.right, other.right, one.samples, _LEVEL, _RESAMPLES, seed=0)
    return f"{test.gain:+.3f} [{test.low:+.3f}, {test.high:+.3f}]"
