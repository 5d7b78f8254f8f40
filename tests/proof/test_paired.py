"""Paired tests against enumeration, library routines and simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, permutation_test
from scipy.stats import t as scipy_t

from relex.proof.answers import Answers
from relex.proof.paired import difference, sign_flip_p


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


def answers(right: np.ndarray) -> Answers:
    """right: [n, k], whether a sample is right."""
    counts = right.sum(axis=1).astype(np.int64)
    nothing = np.zeros(len(right))
    return Answers(counts / right.shape[1], nothing, nothing, counts, right.shape[1])


def test_two_models_that_answer_alike_are_neither_better_nor_known_to_be_equal() -> None:
    right = np.random.default_rng(0).random((200, 4)) < 0.4
    found = difference(answers(right), answers(right), 0.0, 0.05)
    assert (found.gain, found.p_value) == (0.0, 0.5)
    assert found.low < 0 < found.high


@given(
    st.integers(2, 40).flatmap(
        lambda n: st.tuples(*[st.lists(st.integers(0, 4), min_size=n, max_size=n) for _ in range(2)])
    ),
    st.sampled_from([-0.05, 0.0, 0.02]),
    st.sampled_from([0.001, 0.05, 0.3]),
)
def test_the_difference_is_students_with_two_problems_more_in_its_spread(
    counts: tuple[list[int], list[int]], margin: float, level: float
) -> None:
    ours, theirs = (np.array(each, dtype=np.float64) / 4 for each in counts)
    d = ours - theirs
    unseen = 1.0 if margin < 0 else 2 / 16
    variance = (((d - d.mean()) ** 2).sum() + unseen) / (len(d) - 1)
    error = np.sqrt(variance / len(d))
    nothing = np.zeros(len(d))
    made = [Answers(each, nothing, nothing, (each * 4).astype(np.int64), 4) for each in (ours, theirs)]
    found = difference(*made, margin, level)
    student = scipy_t(df=len(d) - 1)
    assert found.gain == pytest.approx(d.mean())
    assert found.p_value == pytest.approx(student.sf((d.mean() - margin) / error), rel=1e-6)
    assert found.low == pytest.approx(max(-1.0, d.mean() - student.isf(level) * error), abs=1e-9)
    assert found.high == pytest.approx(min(1.0, d.mean() + student.isf(level) * error), abs=1e-9)


def test_one_problem_proves_nothing() -> None:
    all_right, all_wrong = answers(np.ones((1, 4))), answers(np.zeros((1, 4)))
    found = difference(all_right, all_wrong, 0.0, 0.05)
    assert (found.gain, found.low, found.high, found.p_value) == (1.0, -1.0, 1.0, 1.0)


def test_the_intervals_width_is_that_of_the_mean() -> None:
    generator = np.random.default_rng(3)
    ours, theirs = generator.random((400, 8)) < 0.6, generator.random((400, 8)) < 0.5
    found = difference(answers(ours), answers(theirs), 0.0, 0.025)
    error = (ours.mean(axis=1) - theirs.mean(axis=1)).std() / 20
    assert (found.high - found.low) / 2 == pytest.approx(1.966 * error, rel=0.01)
    assert found.p_value < 1e-3
