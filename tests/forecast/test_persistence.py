"""Persistence against the updates themselves, and its null against walks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relex.forecast.persistence import persistence, update_gram
from tests.forecast.test_weights import windows


@settings(max_examples=80, deadline=None)
@given(windows(), st.integers(0, 2))
def test_it_is_that_of_the_updates(window, still):
    _, deltas = window
    deltas[:still] = 0.0
    updates = np.diff(np.vstack([np.zeros_like(deltas[0]), deltas]), axis=0)
    gram = deltas @ deltas.T
    np.testing.assert_allclose(update_gram(gram), updates @ updates.T, atol=1e-9 * gram.max())
    found = persistence(gram, gaps=(1, 2, 30))
    updates = updates[still:]
    lengths = np.linalg.norm(updates, axis=1)
    for gap, at in ((1, 0), (2, 1)):
        rows = [u @ v / np.linalg.norm(u) / np.linalg.norm(v) for u, v in zip(updates, updates[gap:], strict=False)]
        assert found["pairs"][at] == len(rows)
        assert found["cosine"][at] == (pytest.approx(np.mean(rows), abs=1e-6) if rows else None)
    assert found["cosine"][2] is None
    assert found["straight"] == pytest.approx(np.linalg.norm(deltas[-1]) / lengths.sum(), rel=1e-6)
    assert found["null_straight"] == pytest.approx(np.linalg.norm(lengths) / lengths.sum(), rel=1e-6)


def test_a_line_is_straight_whatever_its_speed():
    deltas = np.outer(np.cumsum([0.1, 0.4, 1.0, 1.0, 0.5]), [1.0, -2.0, 3.0])
    found = persistence(deltas @ deltas.T)
    assert found["straight"] == pytest.approx(1.0)
    assert found["cosine"] == [pytest.approx(1.0), pytest.approx(1.0), None, None]


def test_the_null_is_what_a_walk_gives():
    sizes = np.linspace(0.2, 1.0, 45)[:, None]
    walk = np.cumsum(sizes * np.random.default_rng(0).normal(size=(45, 20000)), axis=0)
    found = persistence(walk @ walk.T)
    assert found["cosine"] == [pytest.approx(found["null_cosine"], abs=0.01)] * 4
    assert found["straight"] == pytest.approx(found["null_straight"], rel=0.02)


def test_a_window_that_never_moved_says_nothing():
    found = persistence(np.zeros((3, 3)))
    assert (found["cosine"], found["straight"], found["null_straight"]) == ([None] * 4, None, None)
