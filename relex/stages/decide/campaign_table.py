"""`relex calibrate --campaign`: how often the champion moves over many nights that it should not move in, how far its
true quality drifts, and what the nights can still prove: for ways to spend the level and the problems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from relex.proof.level_over_nights import LARGEST_SUM, rules_at
from relex.proof.plan import Plan
from relex.proof.power import POWER, provable
from relex.proof.roles import GATE
from relex.proof.rounds import looks
from relex.proof.rules import Rules
from relex.stages.decide.campaign import START, Campaign, Setting, World
from relex.stages.decide.chance import Chance

CANDIDATES, PROBLEMS = 5, 200  # the default night's
LATE_GAINS = (0.05, 0.10)
_LOOKS = (1, 2, 3, 5, 10, 30, 100)
_LOW = 0.05  # quantile of the drift


@dataclass(frozen=True)
class Way:
    """How nights follow each other. fresh: on new problems and seeds each; else all on the same, so that the champion's
    rows are known. spent: whether the n-th night has what is left of the level at the n-th look."""

    name: str
    fresh: bool
    spent: bool


WAYS = (
    Way("fresh each night, alpha each night", True, False),
    Way("the same, alpha each night", False, False),
    Way("the same, level spent", False, True),
    Way("fresh each night, level spent", True, True),
)
NO_GAIN = (
    World("all equal"),
    World("up to 1 point better or worse", -0.01, 0.01, spread=0.1),
    World("1 point worse", -0.01, -0.01, spread=0.1),
)
PROGRESS = World("sometimes better", -0.01, 0.01, spread=0.1, every=10, gain=0.04)
_MOVES = "moves of the champion (standard error)"


@dataclass(frozen=True)
class Measured:
    """Over campaigns: moves of the champion [campaigns], those to a model that is truly worse [campaigns], drift of its
    true quality [campaigns] in shares of right samples, and of the night after the last the share that promotes a
    candidate better by each of LATE_GAINS."""

    moves: NDArray[np.int64]
    worse: NDArray[np.int64]
    drift: NDArray[np.float64]
    late: tuple[float, ...]


def simulate(world: World, setting: Setting, rules: Sequence[Rules], campaigns: int, seed: int) -> Measured:
    """Campaigns of len(rules) - 1 nights, and one night more for LATE_GAINS. rules: each night's."""
    played = looks([room for room in setting.rooms if room.role == GATE], setting.plan.first, setting.plan.gate)
    chances = {one.alpha: Chance(played, one) for one in rules}
    nights = [(one, chances[one.alpha]) for one in rules]
    (moves, worse), drift = np.zeros((2, campaigns), dtype=np.int64), np.zeros(campaigns)
    late = np.zeros(len(LATE_GAINS))
    for number in range(campaigns):
        campaign = Campaign(world, setting, np.random.default_rng((seed, number)))
        for night, (one, chance) in enumerate(nights[:-1], 1):
            good, before = world.every and night % world.every == 0, campaign.champion.quality
            moves[number] += campaign.night(one, chance, world.gain if good else None)
            worse[number] += campaign.champion.quality < before
        champion = campaign.champion
        drift[number] = champion.quality - START
        for index, better in enumerate(LATE_GAINS):
            campaign.champion = champion
            late[index] += campaign.night(*nights[-1], better)
    return Measured(moves, worse, drift, tuple(late / campaigns))


def table(rules: Rules, plan: Plan, nights: int, campaigns: int, seed: int) -> str:
    """Markdown tables: campaigns without a true gain and with some, and what the level that is left can prove."""
    each = {way: [rules_at(rules, number) if way.spent else rules for number in range(1, nights + 2)] for way in WAYS}
    settings = {way: Setting(CANDIDATES, PROBLEMS, plan, way.fresh) for way in WAYS}
    runs = [(world, way) for world in (*NO_GAIN, PROGRESS) for way in WAYS]
    found = {
        (world, way): simulate(world, settings[way], each[way], campaigns, seed)
        for world, way in tqdm(runs, desc="campaigns", unit="scene")
    }
    what = f"{campaigns} campaigns of {nights} nights a line, {CANDIDATES} candidates, {PROBLEMS} problems at the gate"
    return "\n".join(
        [
            f"Campaigns without a true gain ({what}, alpha {rules.alpha:g}, min_gain {rules.min_gain:g}):",
            "",
            f"| candidates beside the champion | problems | {_MOVES} | to a worse model | campaigns with a move "
            f"| drift in points: mean | 5 % quantile | lowest | {_late()} |",
            "|---|---|---|---|---|---|---|---|---|---|",
            *(_line(world, way, found[world, way]) for world in NO_GAIN for way in WAYS),
            "",
            f"Campaigns in which all candidates of one night in {PROGRESS.every} are better than the champion by "
            f"{100 * PROGRESS.gain:g} points, and of the others up to 1 point better or worse:",
            "",
            f"| problems | {_MOVES} | won of {nights // PROGRESS.every * 100 * PROGRESS.gain:g} points: mean "
            f"| 5 % quantile | {_late()} |",
            "|---|---|---|---|---|---|",
            *(_progress_line(way, found[PROGRESS, way]) for way in WAYS),
            "",
            *_provable(rules, plan),
            "",
        ]
    )


def _late() -> str:
    return " | ".join(f"{100 * gain:+g} points, promoted in the night after" for gain in LATE_GAINS)


def _line(world: World, way: Way, found: Measured) -> str:
    points = 100 * found.drift
    return (
        f"| {world.name} | {way.name} | {_moves(found)} | {found.worse.mean():.3f} | {np.mean(found.moves > 0):.1%} "
        f"| {points.mean():+.2f} | {np.quantile(points, _LOW):+.2f} | {points.min():+.2f} | {_shares(found)} |"
    )


def _progress_line(way: Way, found: Measured) -> str:
    points = 100 * found.drift
    return (
        f"| {way.name} | {_moves(found)} | {points.mean():+.1f} | {np.quantile(points, _LOW):+.1f} | {_shares(found)} |"
    )


def _moves(found: Measured) -> str:
    """The mean with its standard error."""
    return f"{found.moves.mean():.3f} ({found.moves.std() / len(found.moves) ** 0.5:.3f})"


def _shares(found: Measured) -> str:
    return " | ".join(f"{share:.0%}" for share in found.late)


def _provable(rules: Rules, plan: Plan) -> list[str]:
    lines = [
        f"What the n-th look at the same {PROBLEMS} problems can prove (power {POWER:.0%}); all levels without end add "
        f"up to {LARGEST_SUM * rules.alpha:.2g}:",
        "",
        "| look | level | gain in points |",
        "|---|---|---|",
    ]
    rooms = Setting(CANDIDATES, PROBLEMS, plan, fresh=False).rooms
    for look in _LOOKS:
        left = rules_at(rules, look)
        found = provable(rooms, plan, left)
        assert found is not None
        lines.append(f"| {look} | {left.alpha:.2g} | {100 * found.gain:+.1f} |")
    return lines
