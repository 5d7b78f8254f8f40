"""What the answers of other models say of one that was not asked: exact where they answer as often as is likely."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.study.mixture import from_mixture, on_the_line

COUNTS = st.lists(st.integers(1, 6), min_size=4, max_size=4)


@given(
    sources=st.lists(COUNTS, min_size=1, max_size=3),
    target=COUNTS,
    right=st.lists(st.booleans(), min_size=4, max_size=4),
)
def test_it_is_exact_where_each_model_gave_every_answer_as_often_as_it_is_likely(sources, target, right):
    each = np.array([np.array(one) / sum(one) for one in sources])  # [K, answers]
    often = np.lcm.reduce([sum(one) for one in sources])  # so many samples of each model make whole counts
    counts = np.rint(each * often).astype(int)
    answers = np.concatenate([np.repeat(np.arange(4), row) for row in counts])
    wanted = np.array(target) / sum(target)
    found = from_mixture(
        np.log(each[:, answers]), np.log(wanted[answers]), np.array(right, float)[answers], np.zeros_like(answers)
    )
    assert found.right == pytest.approx([wanted @ np.array(right, float)], abs=1e-12)
    assert 0 < found.effective <= 1 + 1e-12


def test_problems_are_weighted_apart_and_far_likelihoods_do_not_overflow():
    sampled = np.array([[-2000.0, -2000.0, -1.0, -1.0]])
    target = np.array([-1000.0, -1000.0 + np.log(3.0), -1500.0, -1500.0])
    found = from_mixture(sampled, target, np.array([1.0, 0.0, 1.0, 1.0]), np.array([0, 0, 1, 1]))
    assert found.right == pytest.approx([0.25, 1.0])
    assert found.effective == pytest.approx((0.8 + 1.0) / 2)  # (1 + 3)^2 / (1 + 9) of 2, and all of 2


def test_the_line_is_straight_in_the_logarithm_of_steps():
    assert on_the_line(20, 10, 40, np.array([0.2, 0.4]), np.array([0.4, 0.4])) == pytest.approx([0.3, 0.4])
