"""Estimators and tests against enumeration, library routines and simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, permutation_test

from relex.stages.decide.paired import paired_test, sign_flip_p
from relex.stages.evaluate.statistics import bootstrap_intervals, pass_at_k, resampled_means
from relex.stages.evaluate.votes import majority


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


@pytest.mark.parametrize(
    ("answers", "right", "expected"),
    [
        (["a", "a", "b"], [True, True, False], 1.0),
        (["a", "b", "b"], [True, False, False], 0.0),
        (["a", "b"], [True, False], 0.5),
        (["a", None, None, None], [True, False, False, False], 1.0),
        ([None, None], [False, False], 0.0),
        (["a", "b", "c"], [True, True, False], 2 / 3),
    ],
)
def test_majority_counts_answers_and_splits_ties(answers: list, right: list, expected: float) -> None:
    assert majority(answers, right) == pytest.approx(expected)


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=9))
def test_the_sign_flip_test_is_exact(differences: list[int]) -> None:
    signs = itertools.product([1, -1], repeat=len(differences))
    sums = [sum(s * abs(d) for s, d in zip(flip, differences, strict=True)) for flip in signs]
    expected = np.mean([total >= sum(differences) for total in sums])
    assert sign_flip_p(np.array(differences)) == pytest.approx(expected)


def test_the_sign_flip_test_is_the_exact_mcnemar_test_for_one_sample_a_problem() -> None:
    differences = np.array([1] * 14 + [-1] * 5 + [0] * 30)
    assert sign_flip_p(differences) == pytest.approx(binomtest(14, 19, 0.5, alternative="greater").pvalue)


def test_the_sign_flip_test_agrees_with_the_library_on_many_problems() -> None:
    differences = np.random.default_rng(1).integers(-8, 10, 300)
    expected = permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        alternative="greater",
        n_resamples=20_000,
        rng=np.random.default_rng(2),
    ).pvalue
    assert sign_flip_p(differences) == pytest.approx(expected, abs=0.01)


def test_identical_models_have_no_gain_and_no_significance() -> None:
    right = np.random.default_rng(0).binomial(8, 0.4, 200)
    test = paired_test(right, right, 8, 0.025, 2000, seed=0)
    assert (test.gain, test.low, test.high, test.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_the_paired_bootstrap_has_the_standard_error_of_the_mean() -> None:
    generator = np.random.default_rng(3)
    ours, theirs = generator.binomial(8, 0.6, 400), generator.binomial(8, 0.5, 400)
    test = paired_test(ours, theirs, 8, 0.025, 20_000, seed=1)
    error = (ours - theirs).std() / 8 / 20
    assert test.gain == pytest.approx((ours - theirs).mean() / 8)
    assert (test.high - test.low) / 2 == pytest.approx(1.96 * error, rel=0.05)
    assert test.p_value < 1e-3


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
