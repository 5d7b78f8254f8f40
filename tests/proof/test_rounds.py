"""The looks of a part: they grow, hold one another, and end with everything."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relex.proof.rounds import Room, looks

SIZES = st.lists(st.integers(1, 300), min_size=1, max_size=3)


def rooms(sizes: list[int], most: int = 1 << 20) -> list[Room]:
    return [Room(f"suite-{i}", "gate", size, most, 4) for i, size in enumerate(sizes)]


@given(SIZES, st.integers(1, 100), st.integers(1, 16))
def test_each_look_holds_the_one_before_and_the_last_is_everything(sizes: list[int], first: int, samples: int) -> None:
    found = looks(rooms(sizes), first, samples)
    assert [(problems, each) for _, problems, each in found[-1].asked] == [(size, samples) for size in sizes]
    assert found[-1].share == 1.0
    for one, other in itertools.pairwise(found):
        assert one.share < other.share
        for (_, problems, each), (_, more_problems, more_each) in zip(one.asked, other.asked, strict=True):
            assert problems <= more_problems
            assert each <= more_each


@given(SIZES, st.integers(1, 100), st.integers(1, 16))
def test_no_problem_is_asked_twice_before_all_were_asked_once(sizes: list[int], first: int, samples: int) -> None:
    for look in looks(rooms(sizes), first, samples):
        assert all(each == 1 for _, _, each in look.asked) or [problems for _, problems, _ in look.asked] == sizes


def test_the_default_nights_gate_is_looked_at_seven_times() -> None:
    found = looks(rooms([200]), 50, 16)
    assert [look.asked[0][1:] for look in found] == [
        (50, 1),
        (100, 1),
        (200, 1),
        (200, 2),
        (200, 4),
        (200, 8),
        (200, 16),
    ]
    assert found[0].share == pytest.approx(1 / 64)


def test_a_last_step_that_adds_little_is_no_look_of_its_own() -> None:
    assert [look.asked[0][1] for look in looks(rooms([220]), 50, 1)] == [50, 100, 220]


def test_greedy_answers_are_asked_once() -> None:
    assert [look.asked[0][1:] for look in looks(rooms([100], most=1), 50, 16)] == [(50, 1), (100, 1)]


def test_a_greedy_suite_beside_a_sampled_one_keeps_its_one_sample() -> None:
    both = [Room("greedy", "gate", 40, 1, 1), Room("sampled", "gate", 40, 1 << 20, 4)]
    assert looks(both, 80, 4)[-1].asked == (("greedy", 40, 1), ("sampled", 40, 4))


def test_a_part_without_problems_has_no_looks() -> None:
    assert looks([], 50, 16) == ()
