"""Whom the gate is to meet: the race of the candidates, and of controls beside them, on the choosing problems. Pure."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace

from relex.proof import controls, race
from relex.proof.answers import Answers, gather
from relex.proof.night import CONTROL, OBSERVED, Ask, Night
from relex.proof.roles import CHOOSE
from relex.proof.rounds import Look


def choose(night: Night) -> Generator[Ask, None, str | None]:
    """The leader of the candidates; the nearest one of those that are equally good. Controls race along, and those that
    are not behind then meet the leader alone."""
    racing, beside, left = [OBSERVED, *night.of_kind("candidate")], night.of_kind(CONTROL), dict[str, Answers]()
    leader, number = None, 0
    played = night.looks(CHOOSE, night.plan.race)
    for number, look in enumerate(played, 1):
        answers = yield from _look(night, look, [*racing, *beside])
        candidates = {name: answers[name] for name in racing if name != OBSERVED}
        # Of the controls' answers nothing follows for the others.
        behind, controls_behind = (
            race.behind({name: answers[name] for name in racing}, candidates),
            race.behind(answers),
        )
        if number >= race.HALVED:
            behind |= candidates.keys() - race.better_half(candidates)
        racing, beside = _stay(night, racing, behind, number), _stay(night, beside, controls_behind, number)
        left = {name: answers[name] for name in racing if name != OBSERVED}
        if len(left) < 2:
            break
        if race.equivalent(left, night.rules.min_gain):
            leader = next(iter(left))  # they stand in the order of their horizons
            break
    if not left:
        return None
    if leader is None:  # the first, so the nearest, of equals
        leader = max(left, key=lambda name: float(left[name].right.mean()))
    yield from _meet_controls(night, leader, beside, played[number:])
    return leader


def _look(night: Night, look: Look, names: list[str]) -> Generator[Ask, None, dict[str, Answers]]:
    """What the race's models answer, noted as where they stand."""
    yield Ask("race", tuple(names), look.asked)
    answers = {name: gather(night.source, name, look.asked) for name in names}
    for name in names:
        night.standings[name] = race.standing(answers[name], *look.size)
        night.seen[name] = look
    return answers


def _stay(night: Night, names: list[str], behind: set[str], number: int) -> list[str]:
    """Those not behind; the others' standings say after which look they left."""
    for name in behind.intersection(names):
        night.standings[name] = replace(night.standings[name], left=number)
    return [name for name in names if name not in behind]


def _meet_controls(night: Night, leader: str, beside: list[str], played: Sequence[Look]) -> Generator[Ask, None, None]:
    """The leader and the controls that it has not outrun go on, until it has or is not going to."""

    def undecided(name: str) -> bool:
        ours, theirs = (gather(night.source, one, night.seen[name].asked) for one in (leader, name))
        return controls.undecided(ours, theirs, night.rules.min_gain)

    for look in played:
        beside = [name for name in beside if undecided(name)]
        if not beside:
            break
        yield from _look(night, look, [leader, *beside])
