"""What the proof may ask, cut to a budget."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relex.proof.plan import Plan, most_rows, within
from relex.proof.roles import CHOOSE, GATE, OOD, TEST
from relex.proof.rounds import Room

ROOMS = (
    Room("choose", CHOOSE, 200, 1 << 20, 4),
    Room("gate", GATE, 200, 1 << 20, 4),
    Room("test", TEST, 500, 1 << 20, 4),
    Room("ood", OOD, 300, 1 << 20, 4),
)
FULL = Plan(50, 4, 16, 16)


def test_the_most_that_the_default_night_can_take_is_the_sum_of_its_parts() -> None:
    race, gate = 6 * 200 * 4, 3 * 200 * 16
    ood, test = 3 * 300 * 16, 3 * 500 * 4
    assert most_rows(FULL, ROOMS, 5, champion=False, everything=False) == race + gate + ood + test
    everyone = most_rows(FULL, ROOMS, 5, champion=False, everything=True)
    assert everyone == race + gate + ood + 4 * 300 * 4 + 7 * 500 * 4


@given(st.integers(8_000, 40_000), st.integers(1, 40), st.booleans(), st.booleans())
def test_a_plan_within_a_budget_keeps_it(budget: int, candidates: int, champion: bool, everything: bool) -> None:
    try:
        plan = within(FULL, budget, ROOMS, candidates, champion, everything)
    except ValueError as error:
        least = error.args[0]
        assert least == most_rows(Plan(50, 1, 1, 1), ROOMS, candidates, champion, everything) > budget
        return
    assert most_rows(plan, ROOMS, candidates, champion, everything) <= budget
    assert plan.race <= FULL.race
    assert plan.gate <= FULL.gate


def test_a_budget_that_is_large_enough_changes_nothing() -> None:
    assert within(FULL, 10**6, ROOMS, 5, True, True) == FULL


def test_a_plan_comes_back_from_its_facts() -> None:
    assert Plan.read(FULL.facts()) == FULL
    with pytest.raises(ValueError, match="not a plan"):
        Plan.read(FULL.facts() | {"gate": 0})
    with pytest.raises(KeyError):
        Plan.read({"first": 1})
