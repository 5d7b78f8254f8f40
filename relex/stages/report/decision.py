"""The shape of metrics/decision.json, as far as the report shows it."""

from __future__ import annotations

from typing import Literal

from relex.stages.report.facts import Facts, Number

Ended = Literal["proven", "futile", "spent", "stopped"]  # stopped: another test of the same model failed first


class Test(Facts):
    """A paired test on the gate's problems: gain and its interval, shares of 1; after how many looks it ended, how."""

    against: str
    gain: Number
    low: Number
    high: Number
    p_value: Number
    level: Number
    min_gain: Number
    passed: bool
    ended: Ended
    problems: int
    samples: int
    looks: int


class Guard(Facts):
    """A limit that a value, a share of 1, must not exceed; the loss against another model is tested, so it has more."""

    guard: str
    suite: str
    against: str | None = None
    value: Number
    limit: Number
    passed: bool
    low: Number | None = None
    high: Number | None = None
    p_value: Number | None = None
    level: Number | None = None
    ended: Ended | None = None
    problems: int | None = None
    samples: int | None = None


class Verdict(Facts):
    """What one model met at the gate."""

    name: str
    passed: bool
    tests: list[Test]
    guards: list[Guard]


class Candidate(Facts):
    """A candidate as the race saw it: share of right samples on so many choosing problems, and how it fared.

    left: the number of the look after which it left the race, None where it stayed. beyond: the checks of the forecast
    that its step outreaches. control: it takes no forecast. beats_control: whether it is shown to be better than every
    control, None without one.
    """

    name: str
    step: int
    choose: Number
    problems: int
    samples: int
    finalist: bool
    left: int | None
    beyond: tuple[str, ...] = ()
    control: bool = False
    beats_control: bool | None = None


class Levels(Facts):
    """The one-sided level of each of the leader's tests, of the last observed checkpoint's, of a loss elsewhere."""

    leader: Number
    observed: Number
    ood: Number


class Decision(Facts):
    """metrics/decision.json. winner: a model's name; None when nothing passed and there is no champion."""

    outcome: Literal["promote-candidate", "promote-observed", "keep-champion"]
    promote: bool
    sentence: str
    winner: str | None
    winner_model_sha256: str | None
    verdicts: list[Verdict]
    candidates: list[Candidate]
    levels: Levels
