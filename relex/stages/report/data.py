"""The shape of a night's metrics and timings, as far as the report shows them."""

from __future__ import annotations

from typing import Any, Literal

from relex.stages.report.diagnosis import Diagnosis
from relex.stages.report.facts import Facts, Number


class Interval(Facts):
    """A mean over problems with its bootstrap interval, all shares of 1."""

    value: Number
    low: Number
    high: Number


class Model(Facts):
    """One evaluated model. step: optimiser steps, observed or predicted; None for a champion."""

    kind: Literal["base", "observed", "champion", "candidate"]
    step: int | None
    model_sha256: str
    weights_sha256: str
    version: str | None = None


class Suite(Facts):
    """One suite of problems: role choose, gate, test or ood, and how completions were drawn."""

    role: str
    problems: int
    samples: int
    temperature: Number
    top_p: Number
    max_tokens: int
    seed: int
    sha256: str


class Protocol(Facts):
    """How every model was asked. confidence: of all intervals, such as 0.95."""

    engine: dict[str, Any]
    confidence: Number
    suites: dict[str, Suite]


class Evaluation(Facts):
    """metrics/evaluate.json; metrics[model][suite][metric] is an Interval where it is one, else a count."""

    protocol: Protocol
    models: dict[str, Model]
    metrics: dict[str, dict[str, dict[str, Interval | Number]]]

    def interval(self, model: str, suite: str, metric: str) -> Interval | None:
        """One metric with its interval; None where that model was not measured so."""
        found = self.metrics.get(model, {}).get(suite, {}).get(metric)
        return found if isinstance(found, Interval) else None

    def accuracy(self, model: str, suite: str) -> Interval | None:
        """avg@k, whatever k was."""
        return self.interval(model, suite, self.accuracy_metric(suite))

    def accuracy_metric(self, suite: str) -> str:
        """Its key, such as avg_at_8."""
        return f"avg_at_{self.protocol.suites[suite].samples}"

    def suites(self, role: str) -> list[str]:
        """Names of the suites of a role, in the file's order."""
        return [name for name, suite in self.protocol.suites.items() if suite.role == role]

    def of_kind(self, kind: str) -> list[str]:
        """Names of the models of a kind, by step."""
        found = [name for name, model in self.models.items() if model.kind == kind]
        return sorted(found, key=lambda name: (self.models[name].step or 0, name))


class BaseFacts(Facts):
    """metrics/base.json."""

    kind: str
    weights_sha256: str
    parameters: int | None = None


class TrainFacts(Facts):
    """metrics/train.json."""

    steps: int
    completions: int
    share_without_signal: Number
    share_truncated: Number
    ended: Literal["steps", "time", "skill"] = "steps"
    warning: str | None = None


class Timing(Facts):
    """timings/<stage>.json: wall seconds of the stage, and of each optimiser step where it is the training."""

    seconds: Number
    steps: tuple[Number, ...] = ()


class Test(Facts):
    """A paired test on the gate's problems: gain and its interval, shares of 1."""

    against: str
    gain: Number
    low: Number
    high: Number
    p_value: Number
    level: Number
    min_gain: Number
    passed: bool


class Guard(Facts):
    """A limit that a value, a share of 1, must not exceed."""

    guard: str
    suite: str
    against: str | None = None
    value: Number
    limit: Number
    passed: bool


class Verdict(Facts):
    """What one model met at the gate."""

    name: str
    passed: bool
    tests: list[Test]
    guards: list[Guard]


class Candidate(Facts):
    """A candidate as the decision saw it: avg@k on so many choosing problems, and the checks its step outreaches."""

    name: str
    step: int
    choose: Number
    problems: int
    beyond: tuple[str, ...] = ()


class Decision(Facts):
    """metrics/decision.json. winner: a model's name; None when nothing passed and there is no champion."""

    outcome: Literal["promote-candidate", "promote-observed", "keep-champion"]
    promote: bool
    sentence: str
    winner: str | None
    winner_model_sha256: str | None
    verdicts: list[Verdict]
    candidates: list[Candidate]
    tried: int
    level: Number


class Night(Facts):
    """Everything that the page shows. rewards: (optimiser step, mean reward of its rollouts)."""

    base: BaseFacts
    train: TrainFacts
    rewards: list[tuple[int, Number]]
    diagnosis: Diagnosis
    evaluation: Evaluation
    decision: Decision
    timings: dict[str, Timing]

    @property
    def window(self) -> int:
        """The last observed optimiser step."""
        return self.diagnosis.trajectory.steps[-1]

    @property
    def finalist(self) -> str | None:
        """The candidate that met the gate, the last of them where several did; None when none did."""
        met = [
            verdict.name
            for verdict in self.decision.verdicts
            if self.evaluation.models[verdict.name].kind == "candidate"
        ]
        return met[-1] if met else None
