"""The shape of a night's metrics and timings, as far as the report shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import AwareDatetime

from relex.stages.report.decision import Decision
from relex.stages.report.diagnosis import Diagnosis
from relex.stages.report.facts import Facts, Number


class Interval(Facts):
    """A mean over problems with its bootstrap interval, all shares of 1."""

    value: Number
    low: Number
    high: Number


class Model(Facts):
    """One evaluated model. step: optimiser steps, observed or predicted; None for a champion. folder: where it was.
    control: a candidate that takes no forecast, races beside the others and is never promoted."""

    kind: Literal["base", "observed", "champion", "candidate"]
    step: int | None
    model_sha256: str
    weights_sha256: str
    version: str | None = None
    folder: str = ""
    control: bool = False


class Suite(Facts):
    """One suite of problems: role choose, gate, test or ood, and how completions are drawn.

    problems, samples: of the whole suite. The proof asks for what it needs: Evaluation.asked says how many that were.
    """

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


class Plan(Facts):
    """What the proof was allowed: problems of the first look, most samples a problem in each part, whose test rows."""

    first: int
    race: int
    gate: int
    guards: int
    report: Literal["winner", "all"]


class Part(Facts):
    """What one part of the proof asked for: rows (one problem, one sample, one model) and the tokens in them."""

    rows: int
    tokens: int


class Proof(Facts):
    """spent: by part, such as race."""

    plan: Plan
    spent: dict[str, Part]


class Evaluation(Facts):
    """metrics/evaluate.json; metrics[model][suite][metric] is an Interval where it is one, else a count."""

    protocol: Protocol
    models: dict[str, Model]
    metrics: dict[str, dict[str, dict[str, Interval | Number]]]
    proof: Proof

    def interval(self, model: str, suite: str, metric: str) -> Interval | None:
        """One metric with its interval; None where that model was not measured so."""
        found = self.metrics.get(model, {}).get(suite, {}).get(metric)
        return found if isinstance(found, Interval) else None

    def accuracy(self, model: str, suite: str) -> Interval | None:
        """avg@k, whatever k was for this model on this suite; None where it was not asked."""
        names = (name for name in self.metrics.get(model, {}).get(suite, {}) if name.startswith("avg_at_"))
        name = next(names, None)
        return self.interval(model, suite, name) if name else None

    def asked(self, model: str, suite: str) -> tuple[int, int]:
        """(problems, samples a problem) that this model was asked of this suite; (0, 0) where it was not."""
        found = self.metrics.get(model, {}).get(suite, {})
        counts = [found.get(name, 0) for name in ("problems", "samples")]
        problems, samples = (int(count) if isinstance(count, float | int) else 0 for count in counts)
        return problems, samples

    def suites(self, role: str) -> list[str]:
        """Names of the suites of a role, in the file's order."""
        return [name for name, suite in self.protocol.suites.items() if suite.role == role]

    def of_kind(self, *kinds: str) -> list[str]:
        """Names of the models of these kinds together, by step; controls are a kind of their own, `control`."""
        found = [name for name, model in self.models.items() if ("control" if model.control else model.kind) in kinds]
        return sorted(found, key=lambda name: (self.models[name].step or 0, name))

    @property
    def same_as_base(self) -> str | None:
        """Name of the champion where it is the very model that the hop began with, else None."""
        base = next((self.models[name].model_sha256 for name in self.of_kind("base")), None)
        return next((name for name in self.of_kind("champion") if self.models[name].model_sha256 == base), None)


class BaseFacts(Facts):
    """metrics/base.json."""

    kind: str
    weights_sha256: str
    parameters: int | None = None


class TrainFacts(Facts):
    """metrics/train.json. Of another trainer's run only the steps are known."""

    steps: int
    completions: int
    tokens: int | None = None
    share_without_signal: Number | None = None
    share_truncated: Number | None = None
    reward_first: Number | None = None
    reward_last: Number | None = None
    explained_share: Number | None = None
    skill: Number | None = None
    ended: Literal["steps", "time", "skill"] = "steps"
    warning: str | None = None


class Step(Facts):
    """A row of metrics/train_steps.csv. reward: mean of its rollouts. without_signal: share of its groups whose answers
    all got the same reward. cut: share of its answers that were cut off. length: mean of an answer, in tokens."""

    step: int
    reward: Number
    without_signal: Number | None = None
    cut: Number | None = None
    length: Number | None = None


class Generated(Facts):
    """What one part of the proof really generated: rows that were known before are not among them. Engine seconds."""

    rows: int = 0
    generate_seconds: Number = 0.0
    score_seconds: Number = 0.0


class Timing(Facts):
    """timings/<stage>.json: wall seconds of the stage, when it ended (UTC) and by which commit; steps: seconds of each
    optimiser step, where it is the training.

    The others are the evaluation's alone: what each part generated, and what its engines cost before the first token.
    """

    seconds: Number
    ended: AwareDatetime | None = None
    commit: str | None = None
    steps: tuple[Number, ...] = ()
    race: Generated = Generated()
    gate: Generated = Generated()
    guards: Generated = Generated()
    report: Generated = Generated()
    start_seconds: Number = 0.0
    engine_starts: int | None = None
    reloads: int = 0


class Proven(Facts):
    """A proof and nothing else: what the page shows of checkpoints, whatever made them. timings: by stage.

    candidate: what a candidate is called.
    """

    candidate: ClassVar[str] = "candidate"
    evaluation: Evaluation
    decision: Decision
    timings: dict[str, Timing]

    @property
    def date(self) -> datetime | None:
        """When the last of its stages ended, None where none says."""
        return max((timing.ended for timing in self.timings.values() if timing.ended), default=None)

    @property
    def commit(self) -> str | None:
        """Of the stage that ended last, None where none says."""
        dated = [(timing.ended, timing.commit) for timing in self.timings.values() if timing.ended]
        return max(dated, key=lambda pair: pair[0])[1] if dated else None

    @property
    def window(self) -> int:
        """The last observed optimiser step."""
        return self.evaluation.models[self.evaluation.of_kind("observed")[0]].step or 0

    @property
    def compared(self) -> tuple[str, str]:
        """Names of the models before and after: the champion, or who stands in its place; who is promoted, or met the
        gate in vain."""
        promoted = self.decision.winner if self.decision.promote else None
        after = promoted or self.finalist or "observed"
        before = next(iter(self.evaluation.of_kind("champion")), "base" if after == "observed" else "observed")
        return before, after

    @property
    def finalist(self) -> str | None:
        """The candidate that met the gate, the last of them where several did; None when none did."""
        met = [
            verdict.name
            for verdict in self.decision.verdicts
            if self.evaluation.models[verdict.name].kind == "candidate"
        ]
        return met[-1] if met else None


class Night(Proven):
    """Everything that the page shows of a night. steps: of the training, in order."""

    candidate: ClassVar[str] = "forecast"
    base: BaseFacts
    train: TrainFacts
    steps: list[Step]
    diagnosis: Diagnosis

    @property
    def window(self) -> int:
        """The last optimiser step of the window that was diagnosed."""
        return self.diagnosis.trajectory.steps[-1]
