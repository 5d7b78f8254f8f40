"""Successive halving keeps the best and bounds the cost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relex.stages.evaluate.halving import Round, rounds, survivors


def test_rounds_double_the_batches_and_halve_the_candidates() -> None:
    assert rounds(20, 4, 3) == [Round(20, 1, 10), Round(10, 2, 5), Round(5, 4, 3)]
    assert rounds(3, 4, 3) == []
    assert rounds(9, 1, 4) == [Round(9, 1, 5), Round(5, 1, 4)]


@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 10))
def test_halving_ends_with_those_to_keep_and_costs_a_bounded_number_of_batches(
    candidates: int, batches: int, keep: int
) -> None:
    played = rounds(candidates, batches, keep)
    assert all(turn.batches <= batches for turn in played)
    assert [turn.kept for turn in played[:-1]] == [turn.candidates for turn in played[1:]]
    if played:
        assert played[-1].kept == keep
        # Each round adds at most about one batch a starting candidate.
        cost, before = 0, 0
        for turn in played:
            cost += turn.candidates * (turn.batches - before)
            before = turn.batches
        assert cost <= (candidates + 2 * len(played)) * max(1, len(played)) + batches * 2


def test_survivors_are_the_best_in_their_old_order() -> None:
    assert survivors({"a": 0.1, "b": 0.5, "c": 0.3, "d": 0.5}, 2) == ["b", "d"]
    assert survivors({"b": 0.5, "a": 0.5, "c": 0.5}, 2) == ["b", "a"]
