"""Estimators and tests against enumeration, library routines and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relex.stages.evaluate.statistics import bootstrap_intervals, pass_at_k, resampled_means


@given(st.integers(1, 12).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_share_of_draws_that_hold_a_right_sample(case: tuple[int, int, int]) -> None:
    samples, right, k = case
    expected = 1 - math.comb(samples - right, k) / math.comb(samples, k)
    assert pass_at_k(np.array([right]), samples, k)[0] == pytest.approx(expected, abs=1e-12)


def test_pass_at_k_is_unbiased_where_one_minus_a_power_is_not() -> None:
    generator = np.random.default_rng(0)
    right = generator.binomial(8, 0.3, 200_000)
    assert pass_at_k(right, 8, 4).mean() == pytest.approx(1 - 0.7**4, abs=2e-3)
    assert np.mean(1 - (1 - right / 8) ** 4) < 1 - 0.7**4 - 0.01


def test_pass_at_k_takes_many_samples_without_overflow() -> None:
    assert pass_at_k(np.array([1]), 10_000, 5_000)[0] == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("k", [0, 9])
def test_pass_at_k_refuses_more_draws_than_samples(k: int) -> None:
    with pytest.raises(ValueError, match="between 1 and 8"):
        pass_at_k(np.array([1]), 8, k)


def test_an_interval_covers_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(4)
    covered = 0
    for night in range(400):
        values = generator.binomial(8, generator.beta(0.5, 0.5, 200))[:, None] / 8
        interval = bootstrap_intervals(values, 0.9, 500, night)[0]
        covered += interval.low <= 0.5 <= interval.high
    assert 0.86 <= covered / 400 <= 0.94


def test_the_same_seed_resamples_the_same_problems() -> None:
    values = np.random.default_rng(5).random((50, 2))
    together = resampled_means(values, 300, seed=7)
    alone = resampled_means(values[:, :1], 300, seed=7)
    assert np.allclose(together[:, 0], alone[:, 0], rtol=0, atol=1e-15)
    assert together.shape == (300, 2)
