"""The gate: paired tests on problems that nothing was chosen on, and guards against loss elsewhere. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from relex.stages.decide.paired import paired_test
from relex.stages.decide.params import Decide
from relex.stages.decide.scores import Scores
from relex.stages.evaluate.schema import GATE, OOD

_DIGITS = 6


@dataclass(frozen=True)
class Verdict:
    """What one model met at the gate. It passed when there was a test, and every test and every guard passed.

    same_as: opponents that are the same model, and so were not met: nobody is better than itself.
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
class Gate:
    """level: of each one-sided test, already corrected for the number tried. seed: of the bootstrap."""

    scores: Scores
    settings: Decide
    level: float
    seed: int

    def meet(self, name: str, opponents: list[str], guarded: list[str], same_as: list[str]) -> Verdict:
        """Test `name` against each opponent on the gate's problems, and hold it against the guards.

        guarded: the models that it must not fall behind elsewhere.
        """
        tests = [self._test(name, other) for other in opponents]
        guards = [self._loss(name, other, suite) for suite in self.scores.suites(OOD) for other in guarded]
        asked = self.scores.suites(GATE) + self.scores.suites(OOD)
        guards += [self._share(name, suite, "cut off", self.settings.max_truncated) for suite in asked]
        guards += [self._share(name, suite, "not a number", 0.0) for suite in asked]
        return Verdict(name, tests, guards, same_as)

    def _test(self, name: str, other: str) -> dict[str, Any]:
        """Paired over the problems of all gate suites together."""
        suites = self.scores.suites(GATE)
        ours = [self.scores.by_model[name][suite] for suite in suites]
        theirs = [self.scores.by_model[other][suite] for suite in suites]
        # Suites may differ in samples a problem: the common multiple keeps the counts whole and the weights equal.
        samples = int(np.lcm.reduce([part.samples for part in ours]))
        result = paired_test(
            np.concatenate([part.right * (samples // part.samples) for part in ours]),
            np.concatenate([part.right * (samples // part.samples) for part in theirs]),
            samples,
            self.level,
            self.settings.resamples,
            self.seed,
        )
        passed = result.gain >= self.settings.min_gain and result.low > 0 and result.p_value <= self.level
        return {
            "model": name,
            "against": other,
            "gain": round(result.gain, _DIGITS),
            "low": round(result.low, _DIGITS),
            "high": round(result.high, _DIGITS),
            "p_value": float(f"{result.p_value:.6g}"),
            "level": self.level,
            "min_gain": self.settings.min_gain,
            "passed": bool(passed),
        }

    def _loss(self, name: str, other: str, suite: str) -> dict[str, Any]:
        loss = self.scores.accuracy(other, suite) - self.scores.accuracy(name, suite)
        return {
            "guard": "ood loss",
            "model": name,
            "against": other,
            "suite": suite,
            "value": round(loss, _DIGITS),
            "limit": self.settings.max_ood_loss,
            "passed": bool(loss <= self.settings.max_ood_loss),
        }

    def _share(self, name: str, suite: str, guard: str, limit: float) -> dict[str, Any]:
        """The share of samples that were cut off, or whose logits were not numbers."""
        part = self.scores.by_model[name][suite]
        counts = part.truncated if guard == "cut off" else part.non_finite
        share = float(counts.mean() / part.samples)
        return {
            "guard": guard,
            "model": name,
            "suite": suite,
            "value": round(share, _DIGITS),
            "limit": limit,
            "passed": bool(share <= limit),
        }


def corrected_level(alpha: float, finalists: int) -> float:
    """The level of each test: whatever could lead to a promotion on the gate's problems counts as a try.

    That is each finalist, and the last observed checkpoint when none of them passes (Bonferroni). How many candidates
    there were before does not count: they were compared on other problems.
    """
    return alpha / (finalists + 1)
