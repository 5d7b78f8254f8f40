"""Paired tests against enumeration, library routines and simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from relex.stages.decide.paired import paired_test, sign_flip_p
from scipy.stats import binomtest, permutation_test


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
