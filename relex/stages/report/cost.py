"""What the night spent: on training, on proving, and what reaching the forecast by training would have cost."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from relex.stages.report.data import Generated, Night, Proven, Timing

_PARTS = {
    "race": "race, on choosing problems",
    "gate": "gate",
    "guards": "guards, out of domain",
    "report": "report, after the decision",
}
_DECIDE = ("race", "gate", "guards")  # what the decision rests on; the report's rows come after it


@dataclass(frozen=True)
class Cost:
    """Steps and seconds; None where no stage left them.

    per_step: median of this night's steps. target: the step of the forecast that met the gate, or the farthest one.
    beyond: an estimate, the seconds of training on from the trained steps to the target. targets: steps that forecasts
    were made for.
    """

    trained_steps: int
    per_step: float | None
    target: int | None
    beyond: float | None
    total: float
    extrapolation: float | None
    targets: int
    forecasts: int
    controls: int


@dataclass(frozen=True)
class Part:
    """One part of the proof. known: of its rows, those that an earlier evaluation had made; seconds: of the engines
    and of the scoring; both None where the evaluation left no timings."""

    name: str
    rows: int
    tokens: int
    known: int | None
    seconds: float | None


@dataclass(frozen=True)
class ProofCost:
    """What the proof took beside the training.

    rows: that the decision rests on; rows_share, all_share: these rows, and all of them, in multiples of the training's
    rollouts; seconds_share: the stage's seconds in multiples of the training's. None where nothing is known of a
    training, and of seconds where a stage left none.
    """

    parts: tuple[Part, ...]
    rows: int
    reported: int
    rollouts: int | None
    rollout_tokens: int | None
    training_seconds: float | None
    seconds: float | None
    engine_starts: int | None
    start_seconds: float
    rows_share: float | None
    all_share: float | None
    seconds_share: float | None


def cost(night: Night) -> Cost:
    """What the night spent, and what reaching its forecast by training would have cost at this night's pace."""
    training = night.timings.get("train")
    per_step = None
    if training is not None and night.train.completions:  # another trainer's seconds are not known
        per_step = statistics.median(training.steps) if training.steps else training.seconds / max(night.train.steps, 1)
    target = about(night)
    beyond = None
    if per_step is not None and target is not None:
        beyond = max(target - night.train.steps, 0) * per_step
    spent = {stage: timing.seconds for stage, timing in night.timings.items()}
    return Cost(
        trained_steps=night.train.steps,
        per_step=per_step,
        target=target,
        beyond=beyond,
        total=sum(spent.values()),
        extrapolation=spent.get("extrapolate"),
        targets=len({night.evaluation.models[name].step for name in night.evaluation.of_kind("candidate")}),
        forecasts=len(night.evaluation.of_kind("candidate")),
        controls=len(night.evaluation.of_kind("control")),
    )


def about(night: Proven) -> int | None:
    """The step of the forecast that met the gate, or of the farthest one."""
    candidates = night.evaluation.of_kind("candidate")
    name = night.finalist or (candidates[-1] if candidates else None)
    return night.evaluation.models[name].step if name else None


def proof_cost(night: Proven) -> ProofCost:
    """Rows and tokens by part as the decision's files say them, seconds and engine starts as the evaluation took them.

    An evaluation that left no engine starts (its timings are absent, or another release's) has no seconds by part.
    """
    spent, timing = night.evaluation.proof.spent, night.timings.get("evaluate")
    # Of another trainer's run neither rollouts nor seconds are known.
    train = night.train if isinstance(night, Night) and night.train.completions else None
    training = night.timings.get("train") if train else None
    by_part = timing if timing is not None and timing.engine_starts is not None else None
    parts = tuple(
        _part(label, spent[name].rows, spent[name].tokens, _generated(by_part, name))
        for name, label in _PARTS.items()
        if name in spent
    )
    rows = sum(spent[name].rows for name in _DECIDE if name in spent)
    every = sum(part.rows for part in spent.values())
    rollouts = train.completions if train else None
    return ProofCost(
        parts=parts,
        rows=rows,
        reported=every - rows,
        rollouts=rollouts,
        rollout_tokens=train.tokens if train else None,
        training_seconds=training.seconds if training else None,
        seconds=timing.seconds if timing else None,
        engine_starts=by_part.engine_starts if by_part else None,
        start_seconds=by_part.start_seconds if by_part else 0.0,
        rows_share=rows / rollouts if rollouts else None,
        all_share=every / rollouts if rollouts else None,
        seconds_share=timing.seconds / training.seconds if timing and training and training.seconds else None,
    )


def _generated(timing: Timing | None, part: str) -> Generated | None:
    found: Generated | None = getattr(timing, part) if timing is not None else None
    return found


def _part(label: str, rows: int, tokens: int, made: Generated | None) -> Part:
    if made is None:
        return Part(label, rows, tokens, None, None)
    return Part(label, rows, tokens, max(rows - made.rows, 0), made.generate_seconds + made.score_seconds)
