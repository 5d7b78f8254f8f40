"""The night in a dozen numbers, metrics/headline.json, and its race as a table, metrics/race.csv: what tables of nights
and their plots show. Pure."""

from __future__ import annotations

import csv
import io

from relex.stages.report.data import Evaluation, TrainFacts
from relex.stages.report.decision import Decision, Test

_RACE = ("step", "right", "low", "high", "problems", "samples")
_DIGITS = 6


def headline(train: TrainFacts, evaluation: Evaluation, decision: Decision) -> dict[str, float]:
    """The night's figures by name, one level deep; shares of 1; a figure that was not measured is left out.

    promoted: 1 or 0. step: optimiser step of the model that the decision is about: the promoted one, else the forecast
    that was refused. gain, gain_low: of that model at the gate, against the opponent that it is least ahead of, and the
    lower end of its interval. test, ood: the share of right samples on the first suite of that role, of the model that
    is promoted or stays. test_last, ood_last: of the last observed checkpoint. rows: all that the evaluation asked.
    steps, reward, reward_gain: trained steps, mean reward of the last of them, and what it is above the first's.
    explained, skill: share of the movement that rank 1 explains, and skill of the forecast within the window.
    """
    name, serving = _about(decision), _serving(evaluation, decision)
    found: dict[str, float | None] = {"promoted": float(decision.promote)}
    found["step"] = evaluation.models[name].step if name in evaluation.models else None
    test = _hardest(decision, name)
    found |= {"gain": test.gain, "gain_low": test.low} if test else {}
    observed = next(iter(evaluation.of_kind("observed")), None)
    for role in ("test", "ood"):
        found[role] = _right(evaluation, serving, role)
        found[f"{role}_last"] = _right(evaluation, observed, role)
    found["rows"] = float(sum(part.rows for part in evaluation.proof.spent.values()))
    found |= {"steps": train.steps, "reward": train.reward_last}
    if train.reward_first is not None and train.reward_last is not None:
        found["reward_gain"] = train.reward_last - train.reward_first
    found |= {"explained": train.explained_share, "skill": train.skill}
    return {key: round(float(value), _DIGITS) for key, value in found.items() if value is not None}


def race(evaluation: Evaluation) -> str:
    """CSV with a header, by step: the last observed checkpoint and every candidate and control on the suites that the
    race asks, their share of right samples with its interval, and how many problems and samples of each it rests on."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(_RACE)
    for name in evaluation.of_kind("observed") + evaluation.of_kind("candidate", "control"):
        for suite in evaluation.suites("choose"):
            found = evaluation.accuracy(name, suite)
            if found is not None:
                step = evaluation.models[name].step
                table.writerow([step, found.value, found.low, found.high, *evaluation.asked(name, suite)])
    return text.getvalue()


def _about(decision: Decision) -> str:
    """Who is promoted; else who met the gate first, for the last observed meets it only where the forecast failed."""
    if decision.promote and decision.winner:
        return decision.winner
    return decision.verdicts[0].name if decision.verdicts else ""


def _serving(evaluation: Evaluation, decision: Decision) -> str | None:
    """Who is promoted or stays: without a champion the base."""
    return decision.winner or next(iter(evaluation.of_kind("base")), None)


def _hardest(decision: Decision, name: str) -> Test | None:
    tests = [test for verdict in decision.verdicts if verdict.name == name for test in verdict.tests]
    return min(tests, key=lambda test: test.gain, default=None)


def _right(evaluation: Evaluation, model: str | None, role: str) -> float | None:
    suite = next(iter(evaluation.suites(role)), None)
    found = evaluation.accuracy(model, suite) if model and suite else None
    return found.value if found else None
