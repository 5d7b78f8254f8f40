"""How much tonight's proof may ask: `evaluate.proof`, cut to what `evaluate.budget` allows, before the first row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from relex.core.errors import InputError
from relex.proof.level_over_nights import share_of_level
from relex.proof.plan import Plan, most_rows, within
from relex.proof.power import problems_to_show_no_loss, provable
from relex.proof.race import Racers
from relex.proof.roles import CHOOSE, GATE, OOD, TEST
from relex.proof.rounds import Room
from relex.proof.rules import Rules
from relex.stages.evaluate.contestants import Contestant
from relex.stages.evaluate.params import Evaluate
from relex.stages.evaluate.suites.params import SplitSource, SuiteParams
from relex.stages.evaluate.suites.sampling import resolve
from relex.stages.evaluate.suites.suite import Suite, gate_size, part_name


def largest(settings: Evaluate) -> Plan:
    """What the section asks for, without a budget."""
    proof = settings.proof
    return Plan(proof.first, proof.race_samples, proof.samples, proof.samples)


def rooms_of(suites: Iterable[Suite]) -> tuple[Room, ...]:
    """The suites as the proof sees them."""
    return tuple(Room.read(suite.name, suite.protocol()) for suite in suites)


def racing(contestants: Iterable[Contestant]) -> Racers:
    """How many race beside the last observed checkpoint."""
    kinds = [each.kind for each in contestants]
    return Racers(kinds.count("candidate"), kinds.count("control"))


def planned(
    settings: Evaluate, rooms: tuple[Room, ...], racers: Racers, champion: bool, rows: int | None, look: int = 1
) -> Plan:
    """The largest plan that `rows` allow, None for no limit; InputError when they do not allow the smallest one.

    look: which one at these problems of the gate it is for.
    """
    plan = replace(largest(settings), look=look)
    if rows is None:
        return plan
    everything = settings.report == "all"
    try:
        return within(plan, rows, rooms, racers, champion, everything)
    except ValueError as error:
        raise InputError(
            "the budget does not reach for one sample of each problem of the proof, and the report",
            where="evaluate.budget",
            expected=f"at least {error.args[0]:,} rows",
            found=f"{rows:,} rows",
            todo="raise the budget, or ask for fewer problems, candidates or samples of the report",
        ) from None


def unlimited(settings: Evaluate, rooms: tuple[Room, ...], racers: Racers, champion: bool) -> int:
    """Rows that the proof and its report take at most without a budget."""
    return most_rows(largest(settings), rooms, racers, champion, settings.report == "all")


def row_budget(settings: Evaluate, rollouts: int | None, rows_in_time: int | None) -> int | None:
    """The fewest rows that the budget's limits allow; None without a limit.

    rollouts: what the training drew, for `share`. rows_in_time: what `minutes` are worth on this machine.
    """
    budget = settings.budget
    limits = [budget.rows, rows_in_time]
    if budget.share is not None and rollouts is not None:
        limits.append(int(budget.share * rollouts))
    known = [limit for limit in limits if limit is not None]
    return min(known) if known else None


def expected_rooms(settings: Evaluate, sizes: dict[str, int]) -> tuple[Room, ...] | None:
    """The suites as the parameters promise them, before any problem is there; None where a suite's size is known only
    from its source. sizes: problems of each split."""
    rooms: list[Room] = []
    for suite in settings.suites:
        if not isinstance(suite.source, SplitSource):
            return None
        size = min(sizes[suite.source.split], suite.limit or sizes[suite.source.split])
        if suite.role != "validation":
            rooms.append(_room(suite, settings, suite.name, {"test": TEST, "ood": OOD}[suite.role], size))
            continue
        gate = gate_size(size, settings.gate_share)
        rooms.append(_room(suite, settings, part_name(suite.name, CHOOSE), CHOOSE, size - gate))
        rooms.append(_room(suite, settings, part_name(suite.name, GATE), GATE, gate))
    return tuple(rooms)


def _room(suite: SuiteParams, settings: Evaluate, name: str, role: str, size: int) -> Room:
    sampling = resolve(suite, settings)
    facts = {"role": role, "problems": size, "samples": sampling.samples, "temperature": sampling.temperature}
    return Room.read(name, facts)


def sentence(
    settings: Evaluate,
    rules: Rules,
    rooms: tuple[Room, ...],
    plan: Plan,
    racers: Racers,
    champion: bool,
    rows: int | None,
) -> str:
    """What the plan can take and prove, with a warning where a budget takes away from what could be proven, and one
    where there are too few problems out of domain."""
    most = most_rows(plan, rooms, racers, champion, settings.report == "all")
    found = provable(rooms, plan, rules)
    lines = [f"the proof: at most {most:,} rows with its report; {found}"]
    if plan.look > 1:
        lines.append(
            f"the proof: these problems were looked at {plan.look - 1} times before, and no fresh ones are left: "
            f"{100 * share_of_level(plan.look):.1f} % of decide.alpha may be spent on them"
        )
    most_free = replace(largest(settings), look=plan.look)
    now, free = provable(rooms, plan, rules, 0.5), provable(rooms, most_free, rules, 0.5)
    if rows is not None and now is not None and free is not None and now.gain > free.gain:
        needed = unlimited(settings, rooms, racers, champion)
        lines.append(
            f"the proof: WARNING: within {rows:,} rows only a gain of {100 * now.gain:+.1f} points is proven in half "
            f"of the nights; with {needed:,} rows, {100 * free.gain:+.1f} points would be "
            f"(evaluate.budget; decide.min_gain is {100 * rules.min_gain:+.1f})"
        )
    ood, enough = sum(room.problems for room in rooms if room.role == OOD), problems_to_show_no_loss(rules)
    if 0 < ood < enough:
        lines.append(
            f"the proof: WARNING: {ood} problems out of domain cannot show that a model loses at most "
            f"{100 * rules.max_ood_loss:g} points there, unless it gains: {enough} could (decide.max_ood_loss)"
        )
    return "\n".join(lines)
