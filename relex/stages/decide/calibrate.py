"""`relex calibrate`: how often the gate promotes when nothing is better, and how often when something is.

Whole nights are simulated through the decision's own code: difficulties of problems drawn from Beta(1/2, 1/2), right
samples from binomials, candidates compared on the choosing problems, the best one at the gate, the last observed
checkpoint after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta
from tqdm import tqdm

from relex.stages.decide.gate import corrected_level
from relex.stages.decide.params import Decide
from relex.stages.decide.power import POWER, detectable_gain
from relex.stages.decide.scores import Scores, SuiteScores
from relex.stages.decide.stage import decision_of
from relex.stages.evaluate.schema import CHOOSE, GATE

_CONFIDENCE = 0.95
SIZES = ((200, 8), (50, 8), (200, 1), (1000, 1))  # the default night's first
_RESAMPLES = 2000  # of the gate's bootstrap in a simulated night


@dataclass(frozen=True)
class Scene:
    """A kind of night. problems: at the gate, and as many for choosing; samples: k.

    gain: true gain of the candidates' share of right samples, the last observed checkpoint being no better than the
    base. spread: candidates and checkpoint differ on each problem, by about this share either way, and only on
    average by `gain`. champion: whether there is one, as good as the last observed checkpoint.
    """

    candidates: int
    problems: int
    samples: int
    gain: float = 0.0
    spread: float = 0.0
    champion: bool = False


@dataclass(frozen=True)
class Rate:
    """Share of nights that promoted, with its exact interval of 95 %."""

    share: float
    low: float
    high: float


def simulate(scene: Scene, settings: Decide, nights: int, seed: int) -> Rate:
    """The share of simulated nights whose decision promotes anything."""
    generator = np.random.default_rng(seed)
    quick = settings.model_copy(update={"resamples": _RESAMPLES})
    promoted = 0
    for night in range(nights):
        models, scores = draw(scene, generator)
        promoted += decision_of(models, scores, quick, seed + night)["promote"]
    tail = (1 - _CONFIDENCE) / 2
    low = float(beta.ppf(tail, promoted, nights - promoted + 1)) if promoted else 0.0
    high = float(beta.ppf(1 - tail, promoted + 1, nights - promoted)) if promoted < nights else 1.0
    return Rate(promoted / nights, low, high)


def draw(scene: Scene, generator: np.random.Generator) -> tuple[dict[str, dict[str, Any]], Scores]:
    """One night: (models as in metrics/evaluate.json, right samples of each)."""
    difficulty = {part: generator.beta(0.5, 0.5, scene.problems) for part in (CHOOSE, GATE)}
    names = ["base", "observed", *(["champion"] if scene.champion else [])]
    models: dict[str, dict[str, Any]] = {name: {"kind": name, "step": 0} for name in names}
    models |= {f"step_{1000 + i:06d}": {"kind": "candidate", "step": 1000 + i} for i in range(scene.candidates)}
    by_model = {}
    for name, facts in models.items():
        facts |= {"model_sha256": name, "folder": name}
        is_candidate = facts["kind"] == "candidate"
        by_model[name] = {
            part: _suite(part, _moved(p, scene, generator) if is_candidate else p, scene, generator)
            for part, p in difficulty.items()
        }
    return models, Scores(by_model)


def _moved(p: NDArray[np.float64], scene: Scene, generator: np.random.Generator) -> NDArray[np.float64]:
    """Probabilities of a candidate: spread without bias, then a gain that keeps them probabilities.

    The gain goes to problems in proportion to the room above them; its mean over the Beta(1/2, 1/2) is `gain`.
    """
    room = np.minimum(p, 1 - p)
    moved = p + generator.choice([-1.0, 1.0], len(p)) * np.minimum(scene.spread, room)
    return np.clip(moved + scene.gain * 2 * (1 - moved), 0.0, 1.0)


def _suite(part: str, p: NDArray[np.float64], scene: Scene, generator: np.random.Generator) -> SuiteScores:
    nothing = np.zeros(scene.problems, dtype=np.int64)
    right = generator.binomial(scene.samples, p)
    problems = tuple(f"{part}-{i}" for i in range(scene.problems))
    return SuiteScores(part, problems, scene.samples, right, nothing, nothing)


def table(settings: Decide, nights: int, seed: int, sizes: Sequence[tuple[int, int]] = SIZES) -> str:
    """The calibration as two Markdown tables. sizes: (problems at the gate, samples) to look at."""
    free = settings.model_copy(update={"min_gain": 0.0})  # the test alone, without the help of a minimum gain
    lines = [
        f"Nights in which nothing is better (alpha {settings.alpha:g}, min_gain 0, {nights} nights a line):",
        "",
        "| candidates | champion | problems at the gate | k | differ on single problems | promoted | 95 % interval |",
        "|---|---|---|---|---|---|---|",
    ]
    nulls = [
        Scene(candidates, *sizes[0], spread=spread, champion=champion)
        for candidates in (1, 5, 20)
        for champion in (False, True)
        for spread in (0.0, 0.2)
    ] + [Scene(5, *size) for size in sizes[1:]]
    for scene in tqdm(nulls, desc="no difference", unit="scene"):
        rate = simulate(scene, free, nights, seed)
        lines.append(
            f"| {scene.candidates} | {'yes' if scene.champion else 'no'} | {scene.problems} | {scene.samples} | "
            f"{'yes' if scene.spread else 'no'} | {_rate(rate)} |"
        )
    lines += [
        "",
        "Nights in which a candidate is better than last observed checkpoint and champion, by the gain that "
        f"`relex doctor` calls detectable (power {POWER:.0%}, min_gain {settings.min_gain:g}):",
        "",
        "| problems at the gate | k | true gain in points | promoted | 95 % interval |",
        "|---|---|---|---|---|",
    ]
    level = corrected_level(settings.alpha, settings.finalists)
    for problems, samples in tqdm(sizes, desc="a difference", unit="scene"):
        gain = detectable_gain(problems, samples, level, settings.min_gain)
        rate = simulate(Scene(1, problems, samples, gain=gain, champion=True), settings, nights, seed)
        lines.append(f"| {problems} | {samples} | {100 * gain:+.1f} | {_rate(rate)} |")
    return "\n".join(lines) + "\n"


def _rate(rate: Rate) -> str:
    return f"{rate.share:.1%} | {rate.low:.1%} to {rate.high:.1%}"
