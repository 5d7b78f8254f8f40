"""What the proof may ask, cut to a budget."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relex.params.load import load
from relex.proof.plan import Plan, most_rows, within
from relex.proof.power import provable
from relex.proof.race import Racers
from relex.proof.roles import CHOOSE, GATE, OOD, TEST
from relex.proof.rounds import Room
from tests.builders import ROOT

ROOMS = (
    Room("choose", CHOOSE, 200, 1 << 20, 4),
    Room("gate", GATE, 200, 1 << 20, 4),
    Room("test", TEST, 500, 1 << 20, 4),
    Room("ood", OOD, 300, 1 << 20, 4),
)
FULL = Plan(50, 4, 16, 16)


def test_the_most_that_the_default_night_can_take_is_the_sum_of_its_parts() -> None:
    # Five race through 50 and 100 problems, three through 200, two through all samples.
    race, gate = 5 * 100 + 3 * 100 + 2 * 600 + 200 * 4, 3 * 200 * 16
    ood, test = 3 * 300 * 16, 3 * 500 * 4
    assert most_rows(FULL, ROOMS, Racers(5), champion=False, everything=False) == race + gate + ood + test
    everyone = most_rows(FULL, ROOMS, Racers(5), champion=False, everything=True)
    assert everyone == race + gate + ood + 4 * 300 * 4 + 7 * 500 * 4


@given(st.integers(8_000, 40_000), st.integers(1, 40), st.booleans(), st.booleans())
def test_a_plan_within_a_budget_keeps_it(budget: int, candidates: int, champion: bool, everything: bool) -> None:
    try:
        plan = within(FULL, budget, ROOMS, Racers(candidates), champion, everything)
    except ValueError as error:
        least = error.args[0]
        assert least == most_rows(Plan(50, 1, 1, 1), ROOMS, Racers(candidates), champion, everything) > budget
        return
    assert most_rows(plan, ROOMS, Racers(candidates), champion, everything) <= budget
    assert plan.race <= FULL.race
    assert plan.gate <= FULL.gate


def test_a_budget_that_is_large_enough_changes_nothing() -> None:
    assert within(FULL, 10**6, ROOMS, Racers(5), True, True) == FULL


def test_a_plan_comes_back_from_its_facts() -> None:
    assert Plan.read(FULL.facts()) == FULL
    with pytest.raises(ValueError, match="not a plan"):
        Plan.read(FULL.facts() | {"gate": 0})
    with pytest.raises(KeyError):
        Plan.read({"first": 1})


def test_a_later_look_at_the_same_problems_can_prove_only_a_larger_gain() -> None:
    rules = load(ROOT / "params.yaml").decide
    rooms = [Room("gate", GATE, 200, 16, 4)]
    first, third = (provable(rooms, Plan(50, 4, 16, 16, look), rules) for look in (1, 3))
    assert first is not None
    assert third is not None
    assert first.gain < third.gain


def test_a_plan_of_an_earlier_release_was_a_first_look() -> None:
    plan = Plan(50, 4, 16, 16, 3)
    assert Plan.read(plan.facts()) == plan
    assert Plan.read({"first": 50, "race": 4, "gate": 16, "guards": 16}).look == 1
    with pytest.raises(ValueError, match="not a plan"):
        Plan.read(plan.facts() | {"look": 0})
