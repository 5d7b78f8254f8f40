"""What is left of the level where the gate's problems were looked at before."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relex.params.load import load
from relex.proof.level_over_nights import LARGEST_SUM, share_of_level
from relex.proof.plan import Plan
from relex.proof.power import provable
from relex.proof.roles import GATE
from relex.proof.rounds import Room
from tests.builders import ROOT

RULES = load(ROOT / "params.yaml").decide


def test_fresh_problems_have_the_whole_level() -> None:
    assert share_of_level(1) == 1.0
    assert RULES.at(1) == RULES


@given(st.integers(1, 10_000))
def test_each_look_has_less_than_the_one_before_and_all_of_them_a_bounded_sum(look: int) -> None:
    assert 0.0 < share_of_level(look + 1) < share_of_level(look)
    assert RULES.at(look).alpha == pytest.approx(RULES.alpha / look**2)
    assert RULES.at(look).fallback_level == pytest.approx(RULES.fallback_level / look**2)
    assert RULES.at(look).min_gain == RULES.min_gain


def test_the_sum_over_looks_without_end_is_what_the_module_says() -> None:
    assert pytest.approx(math.pi**2 / 6) == LARGEST_SUM
    assert sum(map(share_of_level, range(1, 100_000))) == pytest.approx(LARGEST_SUM, abs=1e-4)


@pytest.mark.parametrize("look", [0, -1])
def test_looks_are_counted_from_one(look: int) -> None:
    with pytest.raises(ValueError, match="counted from 1"):
        share_of_level(look)


def test_a_later_look_can_prove_only_a_larger_gain() -> None:
    rooms = [Room("gate", GATE, 200, 16, 4)]
    first, third = (provable(rooms, Plan(50, 4, 16, 16, look), RULES) for look in (1, 3))
    assert first is not None
    assert third is not None
    assert first.gain < third.gain


def test_a_plan_of_an_earlier_release_was_a_first_look() -> None:
    plan = Plan(50, 4, 16, 16, 3)
    assert Plan.read(plan.facts()) == plan
    assert Plan.read({"first": 50, "race": 4, "gate": 16, "guards": 16}).look == 1
    with pytest.raises(ValueError, match="not a plan"):
        Plan.read(plan.facts() | {"look": 0})
