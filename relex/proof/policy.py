"""The proof as a policy: a generator that asks for rows and ends with an outcome. Pure, so that whoever plays it over
the same rows asks the same and ends alike: `evaluate`, which generates them, `decide`, the registry, a simulation.

    race    candidates and last observed checkpoint, and controls, on the choosing problems
    gate    the leader against last observed checkpoint and champion (or base), on problems that nothing was chosen on
    guards  out of domain not worse than observed, champion and base; answers whole; logits numbers

Where the leader fails, the last observed checkpoint meets the champion (or base) instead.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from relex.proof import controls, guards
from relex.proof.answers import Source, gather
from relex.proof.choosing import choose
from relex.proof.level_over_nights import rules_at
from relex.proof.night import BASE, CHAMPION, CONTROL, OBSERVED, Ask, Night, Player
from relex.proof.plan import Plan
from relex.proof.race import Standing
from relex.proof.roles import GATE, OOD
from relex.proof.rounds import Look, Room
from relex.proof.rules import Rules
from relex.proof.sequential import OPTIMISM, SequentialTest, Step
from relex.proof.verdict import Asked, Verdict, loss_facts, share_facts, test_facts

CUT_OFF, NOT_A_NUMBER = "cut off", "not a number"
Facts = dict[str, Any]  # of a test or a guard, as metrics/decision.json holds them
# The last observed checkpoint has been trained as far as the champion or less: it gives up sooner.
_FALLBACK_OPTIMISM = 1.0


@dataclass(frozen=True)
class Outcome:
    """leader: the candidate that met the gate; None where all are credibly worse than the last observed checkpoint.
    standings: of every model that raced. promoted: the name, None for nothing. verdicts: in the order they were met.
    beats_controls: of every candidate, whether it is credibly better than each control; {} without controls."""

    leader: str | None
    standings: dict[str, Standing]
    verdicts: list[Verdict]
    promoted: str | None
    beats_controls: dict[str, bool] = field(default_factory=dict)


@dataclass(frozen=True)
class _Try:
    name: str
    level: float
    optimism: float


def play(
    players: Iterable[Player], rooms: Iterable[Room], plan: Plan, rules: Rules, source: Source
) -> Generator[Ask, None, Outcome]:
    """Ask, look, and go on until it is decided. players: base and observed at least, each candidate, the champion."""
    rules = rules_at(rules, plan.look)
    by_role: dict[str, list[Room]] = {}
    for room in rooms:
        by_role.setdefault(room.role, []).append(room)
    night = Night({player.name: player for player in players}, by_role, plan, rules, source)
    leader = yield from choose(night)
    champion = CHAMPION if CHAMPION in night.players else None
    # Where RLVR moved nothing, or back to where it began, there is nothing to promote under another name.
    unchanged = {night.identity(name): name for name in (BASE, CHAMPION) if name in night.players}
    tries = [_Try(leader, rules.alpha, OPTIMISM)] if leader else []
    verdicts: list[Verdict] = []
    for one in [*tries, _Try(OBSERVED, rules.fallback_level, _FALLBACK_OPTIMISM)]:
        # Without a champion the base is what a promotion would replace.
        verdicts.append((yield from _meet(night, one, [OBSERVED, champion or BASE])))
        if verdicts[-1].passed and unchanged.get(night.identity(one.name)) != BASE:
            break
    last = verdicts[-1]
    promoted = last.name if last.passed and night.identity(last.name) not in unchanged else None
    marks = controls.beaten(source, night.of_kind("candidate"), night.of_kind(CONTROL), night.seen)
    return Outcome(leader, night.standings, verdicts, promoted, marks)


def _meet(night: Night, one: _Try, opponents: Sequence[str]) -> Generator[Ask, None, Verdict]:
    """Test a model against each opponent on the gate's problems, then hold it against the guards."""
    name = one.name
    others = [other for other in dict.fromkeys([*opponents, BASE]) if other != name]
    same_as = [other for other in others if night.identity(other) == night.identity(name)]
    # The base is held against every night's winner: losses that each champion allowed itself would add up.
    guarded = [other for other in others if other not in same_as]
    tests = yield from _gate(night, one, [other for other in guarded if other in opponents])
    found: list[Facts] = []
    if tests and all(test["passed"] for test in tests):
        found = yield from _guards(night, name, guarded, max(test["looks"] for test in tests))
    elif tests:
        looked = max(test["looks"] for test in tests)
        found = _not_a_number(night, name, night.looks(GATE, night.plan.gate)[looked - 1])
    return Verdict(name, tests, found, same_as)


def _gate(night: Night, one: _Try, met: list[str]) -> Generator[Ask, None, list[Facts]]:
    name, played, before = one.name, night.looks(GATE, night.plan.gate), 0.0
    test = SequentialTest(night.rules.min_gain, one.level, _last(played), one.optimism)
    tests: dict[str, Facts] = {}
    waiting = list(met)
    for number, look in enumerate(played, 1):
        if not waiting:
            break
        yield Ask("gate", (name, *waiting), look.asked)
        ours = gather(night.source, name, look.asked)
        asked = Asked(*look.size, number)
        for other in list(waiting):
            theirs = gather(night.source, other, look.asked)
            found = test.judge(ours, theirs, Step(look.share, before))
            tests[other] = test_facts(name, other, found, asked, night.rules.min_gain)
            if found.ended == "proven":
                waiting.remove(other)
        if ours.broken.any() or any(test["ended"] in ("futile", "spent") for test in tests.values()):
            break
        before = look.share
    return list(tests.values())


def _guards(night: Night, name: str, guarded: list[str], looked: int) -> Generator[Ask, None, list[Facts]]:
    """looked: how many looks at the gate's suites there have been."""
    found = yield from _whole_answers(night, name, GATE, night.plan.gate, looked)
    if not all(guard["passed"] for guard in found):
        return found
    losses, looked = yield from _losses(night, name, guarded)
    found += losses
    if looked:
        found += yield from _whole_answers(night, name, OOD, night.plan.guards, looked)
    return found


def _losses(night: Night, name: str, guarded: list[str]) -> Generator[Ask, None, tuple[list[Facts], int]]:
    """Tests that `name` is not worse out of domain, and the number of looks they took: pooled over the suites, since a
    suite of few problems could never show it."""
    rules, played = night.rules, night.looks(OOD, night.plan.guards)
    names = [room.name for room in night.rooms.get(OOD, [])]
    losses: dict[str, Facts] = {}
    waiting, before, number = list(guarded), 0.0, 0
    test = SequentialTest(-rules.max_ood_loss, rules.ood_alpha, _last(played))
    for number, look in enumerate(played, 1):
        yield Ask("guards", (name, *waiting), look.asked)
        ours, asked = gather(night.source, name, look.asked), Asked(*look.size, number)
        for other in list(waiting):
            theirs = gather(night.source, other, look.asked)
            judged = test.judge(ours, theirs, Step(look.share, before))
            losses[other] = loss_facts(name, other, names, judged, asked, rules.max_ood_loss)
            if judged.ended == "proven":
                waiting.remove(other)
        if not waiting or any(loss["ended"] in ("futile", "spent") for loss in losses.values()):
            break
        before = look.share
    return list(losses.values()), number


def _whole_answers(night: Night, name: str, role: str, samples: int, looked: int) -> Generator[Ask, None, list[Facts]]:
    """Answers that are not cut off, and logits that are numbers, on every suite of a role."""
    played = night.looks(role, samples)
    for number in range(looked, len(played) + 1):
        look = played[number - 1]
        if number > looked:
            yield Ask("guards", (name,), look.asked)
        broken = _not_a_number(night, name, look)
        cut, waiting = [], False
        for one in look.asked:
            shares = gather(night.source, name, [one]).cut
            limit = night.rules.max_truncated
            state = guards.cut_off(shares, limit, last=number == len(played))
            waiting = waiting or state == "open"
            cut.append(share_facts(name, one[0], CUT_OFF, float(shares.mean()), limit, state == "passed"))
        if not waiting or not all(guard["passed"] for guard in broken):
            break
    return cut + broken


def _not_a_number(night: Night, name: str, look: Look) -> list[Facts]:
    found = []
    for one in look.asked:
        share = float(gather(night.source, name, [one]).broken.mean())
        found.append(share_facts(name, one[0], NOT_A_NUMBER, share, 0.0, share == 0.0))
    return found


def _last(played: Sequence[Look]) -> Step:
    return Step(1.0, played[-2].share if len(played) > 1 else 0.0)
