"""What one model met at the gate."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from relex.proof.sequential import Judgement

_DIGITS = 6


@dataclass(frozen=True)
class Verdict:
    """It passed when there was a test, and every test and every guard passed.

    tests, guards: as metrics/decision.json holds them. same_as: opponents that are the same model, and so were not met:
    nobody is better than itself. Guards are asked only once every test has passed.
    """

    name: str
    tests: list[dict[str, Any]]
    guards: list[dict[str, Any]]
    same_as: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return bool(self.tests) and all(item["passed"] for item in self.tests + self.guards)

    def facts(self) -> dict[str, Any]:
        """For metrics/decision.json."""
        facts = asdict(self) | {"passed": self.passed}
        return facts if self.same_as else {name: value for name, value in facts.items() if name != "same_as"}


@dataclass(frozen=True)
class Asked:
    """How far a test has come: problems of all its suites, most samples of one, number of the look from 1."""

    problems: int
    samples: int
    look: int


def test_facts(name: str, other: str, judgement: Judgement, asked: Asked, min_gain: float) -> dict[str, Any]:
    """A test at its last look. `ended` is "stopped" where another test of the same model failed first."""
    found = judgement.found
    return {
        "model": name,
        "against": other,
        "gain": round(found.gain, _DIGITS),
        "low": round(found.low, _DIGITS),
        "high": round(found.high, _DIGITS),
        "p_value": _p(found.p_value),
        "level": _p(judgement.level),
        "min_gain": min_gain,
        "passed": judgement.ended == "proven",
        "ended": judgement.ended or "stopped",
        "problems": asked.problems,
        "samples": asked.samples,
        "looks": asked.look,
    }


def loss_facts(
    name: str, other: str, suites: list[str], judgement: Judgement, asked: Asked, limit: float
) -> dict[str, Any]:
    """The test out of domain at its last look, in losses: value, low and high are what `other` has more."""
    found = judgement.found
    return {
        "guard": "ood loss",
        "model": name,
        "against": other,
        "suite": " + ".join(suites),
        "value": round(-found.gain, _DIGITS),
        "low": round(-found.high, _DIGITS),
        "high": round(-found.low, _DIGITS),
        "limit": limit,
        "p_value": _p(found.p_value),
        "level": _p(judgement.level),
        "passed": judgement.ended == "proven",
        "ended": judgement.ended or "stopped",
        "problems": asked.problems,
        "samples": asked.samples,
        "looks": asked.look,
    }


def share_facts(name: str, suite: str, guard: str, share: float, limit: float, passed: bool) -> dict[str, Any]:
    """A guard on the share of a model's answers."""
    return {
        "guard": guard,
        "model": name,
        "suite": suite,
        "value": round(share, _DIGITS),
        "limit": limit,
        "passed": passed,
    }


def _p(value: float) -> float:
    return float(f"{value:.6g}")
