"""`relex calibrate`: how often the proof promotes when nothing is better, when something is, and at what cost.

Whole nights are simulated through the proof's own policy: difficulties of problems drawn from Beta(1/2, 1/2), every
sample right or wrong by its problem's probability, a row drawn when it is first asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta
from tqdm import tqdm

from relex.proof.answers import Marks
from relex.proof.plan import Plan
from relex.proof.power import POWER, provable
from relex.proof.roles import CHOOSE, GATE, OOD
from relex.proof.rounds import Room
from relex.proof.rules import Rules
from relex.stages.decide.stage import played

_CONFIDENCE = 0.95
SIZES = (200, 50, 1000)  # problems at the gate; the default night's first
CANDIDATES = (1, 4, 5, 16, 20, 40)
GAINS = (0.0, 0.02, 0.04, 0.10, 0.35)
FIXED_SAMPLES = 8  # of the fixed design that the rows are held against
_NAMES = {CHOOSE: "choose", GATE: "gate", OOD: "ood"}


@dataclass(frozen=True)
class Scene:
    """A kind of night. problems: at the gate, and as many for choosing; ood: out of domain, where all are equal.

    gain: true gain of the candidates' share of right samples, the last observed checkpoint being no better than the
    base. graded: the n candidates gain gain/n, 2 gain/n, .. gain, instead of all the same. spread: candidates and
    checkpoint differ on each problem, by about this share either way, and only on average by the gain. champion:
    whether there is one, as good as the last observed checkpoint; without one, the base is what a candidate must beat,
    as good as the other two.
    """

    candidates: int
    problems: int
    gain: float = 0.0
    spread: float = 0.0
    champion: bool = False
    ood: int = 0
    graded: bool = False

    @property
    def gains(self) -> dict[str, float]:
        """True gain by candidate, in the order of their horizons."""
        count = self.candidates
        return {
            f"step_{1000 + at:06d}": self.gain * (at + 1) / count if self.graded else self.gain for at in range(count)
        }

    @property
    def rooms(self) -> tuple[Room, ...]:
        """The suites."""
        sizes = {CHOOSE: self.problems, GATE: self.problems, OOD: self.ood}
        return tuple(Room(_NAMES[role], role, size, 1 << 20, 0) for role, size in sizes.items() if size)

    @property
    def fixed(self) -> int:
        """Rows at the gate of a design that asks every problem of candidate, checkpoint and champion (or base) at
        once."""
        return 3 * self.problems * FIXED_SAMPLES


class Night:
    """Rows of one simulated night, drawn when they are asked for: a proof.answers.Source."""

    def __init__(self, scene: Scene, plan: Plan, generator: np.random.Generator):
        self._scene, self._generator, self._gains = scene, generator, scene.gains
        self._most = {CHOOSE: plan.race, GATE: plan.gate, OOD: plan.guards}
        self._easy = {room.name: generator.beta(0.5, 0.5, room.problems) for room in scene.rooms}
        self._right: dict[tuple[str, str], NDArray[np.int64]] = {}

    def marks(self, model: str, suite: str, problems: int, samples: int) -> Marks:
        """See proof.answers.Source."""
        if (model, suite) not in self._right:
            p = self._easy[suite]
            if model.startswith("step_") and suite != OOD:
                p = _moved(p, self._gains[model], self._scene.spread, self._generator)
            draws = self._generator.random((len(p), self._most[suite])) < p[:, None]
            self._right[model, suite] = np.cumsum(draws, axis=1)
        right = self._right[model, suite][:problems, samples - 1]
        return Marks(right, np.zeros_like(right), np.zeros_like(right), samples)


def _moved(p: NDArray[np.float64], gain: float, spread: float, generator: np.random.Generator) -> NDArray[np.float64]:
    """Probabilities of a candidate: spread without bias, then a gain that keeps them probabilities.

    The gain goes to problems in proportion to the room above them; its mean over the Beta(1/2, 1/2) is `gain`.
    """
    room = np.minimum(p, 1 - p)
    moved = p + generator.choice([-1.0, 1.0], len(p)) * np.minimum(spread, room)
    return np.clip(moved + gain * 2 * (1 - moved), 0.0, 1.0)


@dataclass(frozen=True)
class Rate:
    """Of simulated nights: the share that promoted, with its exact interval of 95 %, the mean rows of each part, and by
    how much the race's leader was truly worse than the best candidate, in the mean."""

    share: float
    low: float
    high: float
    race: float
    gate: float
    guards: float
    missed: float


def simulate(scene: Scene, plan: Plan, rules: Rules, nights: int, seed: int) -> Rate:
    """What happens in `nights` nights of a kind."""
    generator = np.random.default_rng(seed)
    names = ["base", "observed", *(["champion"] if scene.champion else [])]
    models: dict[str, dict[str, Any]] = {name: {"kind": name, "step": 0, "model_sha256": name} for name in names}
    for step, name in enumerate(scene.gains, 1000):
        models[name] = {"kind": "candidate", "step": step, "model_sha256": name}
    promoted, rows, missed = 0, np.zeros(3), 0.0
    for _ in range(nights):
        outcome, spending = played(models, scene.rooms, plan, Night(scene, plan, generator), rules)
        promoted += outcome.promoted is not None
        missed += scene.gain - (scene.gains[outcome.leader] if outcome.leader else 0.0)
        rows += [spending.rows[part] for part in ("race", "gate", "guards")]
    tail = (1 - _CONFIDENCE) / 2
    low = float(beta.ppf(tail, promoted, nights - promoted + 1)) if promoted else 0.0
    high = float(beta.ppf(1 - tail, promoted + 1, nights - promoted)) if promoted < nights else 1.0
    race, gate, guards = (float(each) for each in rows / nights)
    return Rate(promoted / nights, low, high, race, gate, guards, missed / nights)


def table(rules: Rules, plan: Plan, nights: int, seed: int, sizes: Sequence[int] = SIZES) -> str:
    """The calibration as Markdown tables. sizes: problems at the gate to look at."""
    return "\n".join(
        [
            *_nothing_better(rules, plan, nights, seed, sizes),
            "",
            *_something_better(rules, plan, nights, seed, sizes),
            "",
            *_cost(rules, plan, nights, seed, sizes[0]),
            "",
            *_race(rules, plan, nights, seed, sizes[0]),
            "",
            *_no_loss(rules, plan, nights, seed, sizes[0]),
            "",
        ]
    )


def _nothing_better(rules: Rules, plan: Plan, nights: int, seed: int, sizes: Sequence[int]) -> list[str]:
    free = rules.model_copy(update={"min_gain": 0.0})  # the tests alone, without the help of a minimum gain
    scenes = [Scene(candidates, sizes[0], spread=spread) for candidates in CANDIDATES for spread in (0.0, 0.2)] + [
        Scene(5, size) for size in sizes[1:]
    ]
    lines = [
        f"Nights in which nothing is better (alpha {rules.alpha:g}, min_gain 0, {nights} nights a line):",
        "",
        "| candidates | problems at the gate | samples | differ on single problems | promoted | 95 % interval "
        "| rows of the race | of the gate |",
        "|---|---|---|---|---|---|---|---|",
    ]
    samples = [plan] * len(scenes) + [Plan(plan.first, 1, 1, 1)]
    for scene, one in zip(
        tqdm([*scenes, Scene(5, sizes[0])], desc="no difference", unit="scene"), samples, strict=True
    ):
        rate = simulate(scene, one, free, nights, seed)
        lines.append(
            f"| {scene.candidates} | {scene.problems} | up to {one.gate} | "
            f"{'yes' if scene.spread else 'no'} | {_share(rate)} | {rate.race:,.0f} | {rate.gate:,.0f} |"
        )
    return lines


def _something_better(rules: Rules, plan: Plan, nights: int, seed: int, sizes: Sequence[int]) -> list[str]:
    lines = [
        "Nights in which a candidate is better than last observed checkpoint and champion, by the gain that "
        f"`relex doctor` calls provable (power {POWER:.0%}, min_gain {rules.min_gain:g}):",
        "",
        "| problems at the gate | samples | true gain in points | promoted | 95 % interval | rows of the gate |",
        "|---|---|---|---|---|---|",
    ]
    for size in tqdm(sizes, desc="a difference", unit="scene"):
        scene = Scene(1, size, champion=True)
        found = provable(scene.rooms, plan, rules)
        assert found is not None
        rate = simulate(Scene(1, size, gain=found.gain, champion=True), plan, rules, nights, seed)
        lines.append(f"| {size} | up to {plan.gate} | {100 * found.gain:+.1f} | {_share(rate)} | {rate.gate:,.0f} |")
    return lines


def _cost(rules: Rules, plan: Plan, nights: int, seed: int, size: int) -> list[str]:
    lines = [
        f"What it takes (5 candidates with the same gain, a champion, {size} problems at the gate, min_gain "
        f"{rules.min_gain:g}), beside a fixed design with {FIXED_SAMPLES} samples of each problem:",
        "",
        "| true gain in points | promoted | 95 % interval | rows of the race | of the gate | of the fixed gate "
        "| share of it |",
        "|---|---|---|---|---|---|---|",
    ]
    for gain in tqdm(GAINS, desc="cost", unit="scene"):
        scene = Scene(5, size, gain=gain, champion=True)
        rate = simulate(scene, plan, rules, nights, seed)
        lines.append(
            f"| {100 * gain:+.1f} | {_share(rate)} | {rate.race:,.0f} | {rate.gate:,.0f} | {scene.fixed:,} | "
            f"{rate.gate / scene.fixed:.0%} |"
        )
    return lines


def _race(rules: Rules, plan: Plan, nights: int, seed: int, size: int) -> list[str]:
    lines = [
        f"What the race picks (candidates whose true gains rise in equal parts to the best one's, {size} problems for "
        "choosing, a champion):",
        "",
        "| candidates | gain of the best in points | of the leader, mean | missed | rows of the race |",
        "|---|---|---|---|---|",
    ]
    for candidates, gain in tqdm([(4, 0.04), (4, 0.35), (15, 0.04), (15, 0.35)], desc="the race", unit="scene"):
        scene = Scene(candidates, size, gain=gain, champion=True, graded=True)
        rate = simulate(scene, plan, rules, max(1, nights // 4), seed)
        lines.append(
            f"| {candidates} | {100 * gain:+.1f} | {100 * (gain - rate.missed):+.1f} | {100 * rate.missed:.1f} "
            f"| {rate.race:,.0f} |"
        )
    return lines


def _no_loss(rules: Rules, plan: Plan, nights: int, seed: int, size: int) -> list[str]:
    lines = [
        "What the guard out of domain costs (1 candidate, better by 35 points at the gate; nothing lost or won out of "
        f"domain; at most {100 * rules.max_ood_loss:g} points at level {rules.ood_alpha:g}; every model's samples "
        "drawn for itself, where real ones share their seeds):",
        "",
        "| problems out of domain | promoted | 95 % interval | rows of the guards |",
        "|---|---|---|---|",
    ]
    for ood in tqdm((60, 300, 1000), desc="no loss", unit="scene"):
        rate = simulate(Scene(1, size, gain=0.35, champion=True, ood=ood), plan, rules, max(1, nights // 4), seed)
        lines.append(f"| {ood} | {_share(rate)} | {rate.guards:,.0f} |")
    return lines


def _share(rate: Rate) -> str:
    return f"{rate.share:.1%} | {rate.low:.1%} to {rate.high:.1%}"
