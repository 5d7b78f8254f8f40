"""Controls against float64 sums over the deltas themselves."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from relex.forecast.controls import FIRST, MEAN, amplified, lengths
from relex.forecast.weights import Forecast, weights
from tests.forecast.test_weights import distance, windows


@settings(max_examples=100, deadline=None)
@given(windows(), st.integers(0, 2), st.sampled_from([FIRST, MEAN]))
def test_an_amplified_update_goes_as_far_as_the_forecast(window, still, updates):
    steps, deltas = window
    deltas[:still] = 0.0  # a warm-up's first steps may move nothing
    gram = deltas @ deltas.T
    forecast = weights(gram, steps, [int(steps[-1]) + 7, int(steps[-1]) + 90], Forecast())
    far = lengths(gram, forecast)
    np.testing.assert_allclose(far, np.linalg.norm(forecast @ deltas, axis=1), rtol=1e-6)
    found = amplified(gram, updates, far).dense @ deltas
    before = np.vstack([np.zeros_like(deltas[0]), deltas])
    differences = np.diff(before, axis=0)[still:]
    mean = differences[:updates].mean(axis=0)
    for row, length in zip(found, far, strict=True):
        assert distance(row, length * mean / np.linalg.norm(mean)) < 1e-5


def test_a_tensor_that_never_moved_stays():
    assert not amplified(np.zeros((3, 3)), FIRST, np.ones(2)).dense.any()
