"""Nights on the same problems: the first has the whole level, later ones less, and the sum has a bound."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relex.proof.level_over_nights import LARGEST_SUM, rules_at, share_of_level
from relex.proof.rules import Rules

LOOKS = st.integers(1, 10**9)
RULES = st.builds(
    Rules,
    alpha=st.floats(1e-6, 0.49),
    min_gain=st.floats(0, 1),
    max_ood_loss=st.floats(0, 1),
    ood_alpha=st.floats(1e-6, 0.49),
    max_truncated=st.floats(0, 1),
)


@given(RULES)
def test_fresh_problems_have_the_whole_level(rules: Rules) -> None:
    assert rules_at(rules, 1) == rules


@given(LOOKS)
def test_each_look_has_something_and_less_than_the_one_before(look: int) -> None:
    assert 0 < share_of_level(look + 1) < share_of_level(look) <= 1


@given(st.integers(0, 5000), st.integers(0, 5000))
def test_over_any_nights_the_levels_stay_below_the_bound(before: int, nights: int) -> None:
    """Also from the middle of a campaign on: what later nights spend is at most what the sum has left."""
    shares = [share_of_level(look) for look in range(1, before + nights + 1)]
    assert math.fsum(shares) < LARGEST_SUM
    tail = LARGEST_SUM - math.fsum(shares[:before])
    assert math.fsum(shares[before:]) <= tail


def test_the_bound_is_the_sum_and_no_larger() -> None:
    shares = itertools.accumulate(share_of_level(look) for look in range(1, 200_001))
    assert list(shares)[-1] == pytest.approx(LARGEST_SUM, abs=0.005)


@given(RULES, LOOKS)
def test_the_levels_of_the_gate_follow_and_nothing_else(rules: Rules, look: int) -> None:
    left = rules_at(rules, look)
    assert left.alpha == pytest.approx(rules.alpha * share_of_level(look))
    assert left.fallback_level == pytest.approx(rules.fallback_level * share_of_level(look))
    assert left.model_copy(update={"alpha": rules.alpha}) == rules


@given(st.integers(max_value=0))
def test_looks_are_counted_from_one(look: int) -> None:
    with pytest.raises(ValueError, match="counted from 1"):
        share_of_level(look)
