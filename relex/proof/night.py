"""What a night's proof is played with, and what it may ask for. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from relex.proof.answers import Source
from relex.proof.plan import Plan
from relex.proof.race import Standing
from relex.proof.rounds import Look, Room, looks
from relex.proof.rules import Rules

BASE, OBSERVED, CHAMPION, CONTROL = "base", "observed", "champion", "control"
Purpose = Literal["race", "gate", "guards"]


@dataclass(frozen=True)
class Player:
    """A model of the night. kind: base, observed, champion, candidate or control. step: optimiser steps, None for a
    champion. identity: hash that two names of one model share."""

    name: str
    kind: str
    step: int | None
    identity: str


@dataclass(frozen=True)
class Ask:
    """Rows that must exist before the policy goes on. asked: (suite, its first problems, samples of each)."""

    purpose: Purpose
    models: tuple[str, ...]
    asked: tuple[tuple[str, int, int], ...]


@dataclass
class Night:
    """A night under way: who plays, what may be asked of whom, and how the race stands."""

    players: dict[str, Player]
    rooms: dict[str, list[Room]]  # by role
    plan: Plan
    rules: Rules
    source: Source
    standings: dict[str, Standing] = field(default_factory=dict)
    seen: dict[str, Look] = field(default_factory=dict)  # the last look of the race that each model was asked for

    def identity(self, name: str) -> str:
        return self.players[name].identity

    def of_kind(self, kind: str) -> list[str]:
        """The nearest first."""
        found = [player for player in self.players.values() if player.kind == kind]
        return [player.name for player in sorted(found, key=lambda player: (player.step or 0, player.name))]

    def looks(self, role: str, samples: int) -> tuple[Look, ...]:
        return looks(self.rooms.get(role, []), self.plan.first, samples)
