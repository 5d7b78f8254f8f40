"""Forecasts along few directions that they share."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from relex.forecast.factored import factored
from relex.forecast.weights import weights
from relex.window.options import Options

STEPS, TARGETS = [1, 2, 3, 4, 5, 6, 8], [9, 12, 40, 100, 700]
SQUARE = arrays(np.float64, (len(STEPS), len(STEPS)), elements=st.floats(-1.0, 1.0))


@given(SQUARE, st.integers(1, 3), st.integers(0, 6))
def test_the_product_is_the_weights_and_no_factor_is_larger_than_it_must_be(drawn, rank, rows):
    wanted = drawn[:rows, :rank] @ drawn[:rank]
    amounts, directions = factored(wanted)
    np.testing.assert_allclose(amounts @ directions, wanted, rtol=0, atol=1e-11 * (1 + np.abs(wanted).max(initial=0)))
    assert len(directions) == amounts.shape[1] <= min(rank, rows)
    np.testing.assert_allclose(directions @ directions.T, np.eye(len(directions)), atol=1e-12)


@given(
    SQUARE,
    st.sampled_from([1, 2, "full"]),
    st.sampled_from(["linear", "polynomial", "two-point"]),
    st.sampled_from(["line", "last"]),
    st.sampled_from([0.0, 0.3]),
)
def test_a_ray_needs_no_more_directions_than_its_options_tell(drawn, rank, fit, anchor, shrink):
    options = Options(rank=rank, fit=fit, anchor=anchor, shrink=shrink)
    found = weights(drawn @ drawn.T, STEPS, TARGETS, options.forecast())
    assert options.directions is not None
    assert len(factored(found)[1]) <= options.directions


def test_nothing_has_no_directions():
    amounts, directions = factored(np.zeros((3, 4)))
    assert (amounts.shape, directions.shape) == ((3, 0), (0, 4))
