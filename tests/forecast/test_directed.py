"""Sums as amounts along shared directions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from relex.forecast.directed import Directed
from relex.forecast.weights import Forecast, directed

rows = st.integers(1, 6).flatmap(
    lambda count: st.tuples(
        arrays(np.float64, (count, 4), elements=st.sampled_from([0.0, 1.0, -2.5])),
        arrays(np.float64, count, elements=st.floats(-10, 10)),
    )
)


@given(rows)
def test_equal_rows_are_one_direction_and_nothing_else_changes(drawn):
    given_rows, amounts = drawn
    found = Directed.along(amounts, given_rows)
    np.testing.assert_array_equal(found.dense, amounts[:, None] * given_rows)
    assert len(found.directions) == len({row.tobytes() for row in given_rows})
    np.testing.assert_array_equal(Directed.plain(given_rows).dense, given_rows)


@given(rows, rows)
def test_joined_sums_are_those_of_the_parts_in_order(one, two):
    parts = [Directed.along(amounts, given_rows) for given_rows, amounts in (one, two)]
    np.testing.assert_array_equal(Directed.joined(parts).dense, np.concatenate([part.dense for part in parts]))


@given(rows, st.floats(0.0, 3.0))
def test_a_sum_may_go_a_part_of_the_way_from_a_row_and_several_become_their_mean(drawn, size):
    given_rows, amounts = drawn
    whole, row = Directed.along(amounts, given_rows), np.array([0.0, 0.5, 0.0, 0.5])
    np.testing.assert_allclose(whole.from_row(row, size).dense, row + size * (whole.dense - row), atol=1e-12)
    np.testing.assert_array_equal(whole.from_row(row, 0.0).dense, np.tile(row, (len(amounts), 1)))
    assert whole.from_row(row, 1.0) is whole
    np.testing.assert_allclose(whole.mean().dense, whole.dense.mean(axis=0)[None], atol=1e-12)


def test_the_mean_of_sums_along_one_direction_stays_along_it():
    found = Directed.along([1.0, 3.0], np.array([[1.0, 2.0], [1.0, 2.0]])).mean()
    assert (found.directions.tolist(), found.amounts.tolist()) == ([[1.0, 2.0]], [2.0])


@given(rows)
def test_steps_without_a_weight_are_not_needed(drawn):
    given_rows, amounts = drawn
    whole = Directed.along(amounts, given_rows)
    used, rest = whole.needed()
    np.testing.assert_array_equal(rest.placed(used, 4).dense, whole.dense)
    assert used == (np.flatnonzero(given_rows.any(axis=0)).tolist() or [0])


@given(rows, st.integers(1, 5))
def test_steps_that_are_added_up_together_are_needed_together(drawn, together):
    given_rows, amounts = drawn
    whole = Directed.along(amounts, given_rows)
    used, rest = whole.needed(together)
    np.testing.assert_array_equal(rest.placed(used, 4).dense, whole.dense)
    alone = whole.needed()[0]
    groups = {step // together for step in alone}
    assert used == (alone if len(alone) == 1 else [step for step in range(4) if step // together in groups])


@pytest.mark.parametrize(
    ("how", "along"),
    [
        (Forecast(), 1),
        (Forecast(fit="polynomial"), 1),
        (Forecast(fit="sinusoid"), 1),
        (Forecast(autoregressive=2), 1),
        (Forecast(fit="two-point"), 1),
        (Forecast(rank=2), 3),
        (Forecast(rank="full"), 3),
        (Forecast(anchor="last"), 3),
        (Forecast(shrink=0.2), 3),
    ],
)
def test_all_targets_of_rank_one_lie_along_one_direction(how, along):
    deltas = np.cumsum(np.random.default_rng(0).normal(size=(6, 30)), axis=0)
    found = directed(deltas @ deltas.T, [1, 2, 3, 5, 8, 9], [10, 20, 40], how)
    assert len(found.directions) == along
    assert len(set(found.amounts)) == (3 if along == 1 else 1)
