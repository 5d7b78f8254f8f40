"""How much a night's proof may ask at most: set before its first row. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from relex.proof.race import Racers, most_raced
from relex.proof.roles import CHOOSE, GATE, OOD, TEST
from relex.proof.rounds import Room, looks


@dataclass(frozen=True)
class Plan:
    """first: problems of the first look of each part. race, gate, guards: most samples a problem there. look: which one
    at these problems of the gate this night's is, 1 for fresh ones."""

    first: int
    race: int
    gate: int
    guards: int
    look: int = 1

    def facts(self) -> dict[str, int]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def read(cls, facts: dict[str, Any]) -> Plan:
        """From JSON. KeyError, TypeError or ValueError where it is not a plan."""
        parts = {name: facts[name] for name in ("first", "race", "gate", "guards")}
        found = cls(**parts, look=facts.get("look", 1))  # earlier releases asked the same problems at full level
        if any(type(value) is not int or value < 1 for value in asdict(found).values()):
            raise ValueError(f"not a plan: {facts}")
        return found


def most_rows(plan: Plan, rooms: Iterable[Room], racers: Racers, champion: bool, everything: bool) -> int:
    """Rows that the plan can take at most, with the report.

    everything: the report asks every model (`evaluate.report: all`), not the winner and those it met alone.
    """
    met = 3 + champion  # winner, last observed, base, champion
    everyone = racers.candidates + racers.controls + 2 + champion
    reported = everyone if everything else met
    rooms = list(rooms)
    total = most_raced(looks([room for room in rooms if room.role == CHOOSE], plan.first, plan.race), racers)
    for room in rooms:
        if room.role == GATE:
            asked = 3 * min(plan.gate, room.samples)
        elif room.role == OOD:
            proof, report = min(plan.guards, room.samples), room.reported
            asked = met * max(proof, report) + (reported - met) * report
        else:
            asked = reported * room.reported if room.role == TEST else 0
        total += asked * room.problems
    return total


def within(plan: Plan, budget: int, rooms: Iterable[Room], racers: Racers, champion: bool, everything: bool) -> Plan:
    """The largest plan, at most `plan`, that `budget` rows suffice for: samples are halved, the race's first.

    ValueError with the rows of the smallest plan when they do not suffice for that.
    """
    rooms = list(rooms)

    def fits(one: Plan) -> bool:
        return most_rows(one, rooms, racers, champion, everything) <= budget

    while not fits(plan):
        if plan.race > 1 and plan.race >= plan.gate // 4:
            plan = replace(plan, race=plan.race // 2)
        elif max(plan.gate, plan.guards) > 1:
            plan = replace(plan, gate=max(1, plan.gate // 2), guards=max(1, plan.guards // 2))
        elif plan.race > 1:
            plan = replace(plan, race=plan.race // 2)
        else:
            raise ValueError(most_rows(plan, rooms, racers, champion, everything))
    return plan
