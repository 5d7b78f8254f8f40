"""Simulated campaigns: nights after each other, each against the champion that the nights before left.

A model's truth is its probability of a right sample on every problem. Its quality is the mean over all the problems
there could be, which a night sees some of. Rows of a seed are alike between models: a sample takes its chance from the
seed with probability 1/2, else its own. With problems of Beta(1/2, 1/2), rows of one seed then correlate .63 between
equal models; real ones .36 to .90.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from relex.proof.answers import Marks
from relex.proof.night import BASE, CHAMPION, OBSERVED
from relex.proof.plan import Plan
from relex.proof.roles import CHOOSE, GATE
from relex.proof.rounds import Room
from relex.proof.rules import Rules
from relex.stages.decide.chance import Chance
from relex.stages.decide.stage import played

Floats = NDArray[np.float32]
Counts = NDArray[np.unsignedinteger]
Draws = NDArray[np.uint16]  # whole numbers below _FACES, each as likely; a sample is right where its draw is below p
_FACES = 1 << 16
START = 0.5  # quality of the base: the mean of Beta(1/2, 1/2)


@dataclass(frozen=True)
class World:
    """What candidates and last observed checkpoint are like, beside the champion. Shares of right samples.

    low, high: their true gain lies evenly between these. spread: on each problem they differ by about this much either
    way, and only on average by their gain. every, gain: in every so-many-th night, 0 for none, all candidates gain this
    instead, and the last observed checkpoint nothing.
    """

    name: str
    low: float = 0.0
    high: float = 0.0
    spread: float = 0.0
    every: int = 0
    gain: float = 0.0


@dataclass(frozen=True)
class Setting:
    """problems: at the gate, and as many for choosing. fresh: whether every night draws new ones, with new seeds."""

    candidates: int
    problems: int
    plan: Plan
    fresh: bool

    @property
    def rooms(self) -> tuple[Room, ...]:
        """The suites, named by their roles."""
        return tuple(Room(role, role, self.problems, 1 << 20, 0) for role in (CHOOSE, GATE))

    @property
    def names(self) -> tuple[str, ...]:
        """Of the models that are not the champion."""
        return (OBSERVED, *(f"step_{number:03d}" for number in range(1, self.candidates + 1)))

    def samples(self, role: str) -> int:
        """Most samples of a problem."""
        return {CHOOSE: self.plan.race, GATE: self.plan.gate}[role]


@dataclass
class Champion:
    """quality: true, over all problems. p: role -> its probability of a right sample on each problem [n]. counts: right
    samples at the gate [samples, n], where row s holds those of the first s + 1."""

    quality: float
    p: dict[str, Floats]
    counts: Counts


class Campaign:
    """A campaign under way. generator: where all its chance comes from."""

    def __init__(self, world: World, setting: Setting, generator: np.random.Generator):
        self._world, self._setting, self._generator = world, setting, generator
        self._seeds: dict[str, Draws] = {}
        self.champion = self._on_new_problems(START)

    def night(self, rules: Rules, chance: Chance, gain: float | None = None) -> bool:
        """One night; whether the champion moved. chance: of these rules. gain: of every candidate, in place of the
        world's gains, the last observed checkpoint being as good as the champion."""
        if self._setting.fresh:
            self.champion = self._on_new_problems(self.champion.quality)
        gains = self._gains(gain)
        p = self._challengers(GATE, gains)
        counts = self._rows(GATE, p)
        if not chance.any(self.champion.counts, counts):
            return False
        if CHOOSE not in self.champion.p:
            self._see(self.champion, CHOOSE)
        choosing = self._challengers(CHOOSE, gains)
        rows = _Rows(self._setting, self.champion.counts, counts, self._rows(CHOOSE, choosing))
        models = {
            name: {"kind": "candidate" if name.startswith("step") else name, "step": step, "model_sha256": name}
            for step, name in enumerate((BASE, CHAMPION, *self._setting.names))
        }
        outcome, _ = played(models, self._setting.rooms, self._setting.plan, rows, rules)
        if outcome.promoted is None:
            return False
        winner = self._setting.names.index(outcome.promoted)
        self.champion = Champion(
            self.champion.quality + float(gains[winner]), {GATE: p[winner], CHOOSE: choosing[winner]}, counts[:, winner]
        )
        return True

    def _on_new_problems(self, quality: float) -> Champion:
        self._seeds = {}
        champion = Champion(quality, {}, np.zeros((0, 0), dtype=np.uint8))
        self._see(champion, GATE)
        champion.counts = self._rows(GATE, champion.p[GATE][None])[:, 0]
        return champion

    def _see(self, champion: Champion, role: str) -> None:
        """New problems of a role, with their seeds, and what the champion is on them."""
        setting = self._setting
        drawn = self._generator.beta(0.5, 0.5, setting.problems).astype(np.float32)
        champion.p[role] = _better(drawn, START, np.float32(champion.quality - START))
        self._seeds[role] = self._draws((setting.samples(role), setting.problems))

    def _gains(self, gain: float | None) -> Floats:
        """[models]"""
        size = len(self._setting.names)
        if gain is None:
            return self._generator.uniform(self._world.low, self._world.high, size).astype(np.float32)
        return np.array([0.0] + [gain] * (size - 1), dtype=np.float32)

    def _challengers(self, role: str, gains: Floats) -> Floats:
        """Their p [models, n]."""
        p = np.repeat(self.champion.p[role][None], len(gains), axis=0)
        if self._world.spread:
            far = np.minimum(np.float32(self._world.spread), np.minimum(p, 1 - p))
            p += np.where(self._coins(p.shape), far, -far)
        return _better(p, self.champion.quality, gains[:, None])

    def _rows(self, role: str, p: Floats) -> Counts:
        """Right samples [samples, models, n] of the first 1, 2, ... samples, drawn."""
        seeds = self._seeds[role]
        shape = (len(seeds), *p.shape)
        own, from_seed = self._draws(shape), -self._coins(shape).astype(np.uint16)  # no bit, or all of them
        draws = own ^ ((own ^ seeds[:, None]) & from_seed)
        limit = np.minimum(np.rint(p * _FACES), _FACES - 1).astype(np.uint16)
        return np.cumsum(draws < limit, axis=0, dtype=np.min_scalar_type(len(seeds)))

    def _draws(self, shape: tuple[int, ...]) -> Draws:
        return np.frombuffer(self._generator.bytes(2 * math.prod(shape)), dtype=np.uint16).reshape(shape)

    def _coins(self, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        size = math.prod(shape)
        drawn = np.frombuffer(self._generator.bytes(-(-size // 8)), dtype=np.uint8)
        return np.unpackbits(drawn, count=size).view(np.bool_).reshape(shape)


class _Rows:
    """A night's rows: a proof.answers.Source."""

    def __init__(self, setting: Setting, champion: Counts, gate: Counts, choose: Counts):
        self._counts = {(CHAMPION, GATE): champion}
        for number, name in enumerate(setting.names):
            self._counts[name, GATE], self._counts[name, CHOOSE] = gate[:, number], choose[:, number]

    def marks(self, model: str, suite: str, problems: int, samples: int) -> Marks:
        """See proof.answers.Source."""
        right = self._counts[model, suite][samples - 1, :problems].astype(np.int64)
        return Marks(right, np.zeros_like(right), np.zeros_like(right), samples)


def _better(p: Floats, quality: float, gain: Floats | np.float32) -> Floats:
    """p [..., n] of models of this quality, moved so that the mean over all problems grows by exactly `gain` [..., 1]:
    most where there is most room, and for a loss most where there is most to lose."""
    moved = p + gain * np.where(gain > 0, (1 - p) / (1 - quality), p / quality)
    return np.clip(moved, 0.0, 1.0).astype(np.float32)
