"""Which answers are one answer, and which has most votes."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relex.stages.evaluate.votes import majority, normal_form, votes


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


@pytest.mark.parametrize(
    "same",
    [
        ["1/2", "0.5", ".50", "\\frac{1}{2}", "$\\dfrac{2}{4}$", " 1 / 2 "],
        ["1000", "1,000", "1{,}000", "1000.0", "1\\,000"],
        ["-3", "\u22123", "-3.", "-\\frac{6}{2}", "\\frac{-3}{1}"],
        ["0", "0.0", "-0", "0/7"],
        ["(1, 2)", "(1,2)", "\\left(1,2\\right)"],
        ["x + 1", "x+1"],
    ],
)
def test_equal_answers_share_a_form(same: list[str]) -> None:
    assert len({normal_form(answer) for answer in same}) == 1, [normal_form(answer) for answer in same]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("0.333", "1/3"),
        ("012", "12"),
        ("50%", "0.5"),
        ("50%", "50"),
        ("-3", "3"),
        ("1,2", "12"),
        ("1,000", "1,00"),
        ("x", "X"),
        ("1/0", "0"),
        ("", "0"),
        ("-", "0"),
        ("\\frac{1}{2}", "\\frac{2}{1}"),
    ],
)
def test_other_answers_have_other_forms(one: str, other: str) -> None:
    assert normal_form(one) != normal_form(other)


@given(st.text(max_size=80) | st.from_regex(r"[-+0-9.,/{}$\\frac]{0,80}", fullmatch=True))
@example("\\$,")
def test_any_text_has_a_form_and_a_form_is_its_own(text: str) -> None:
    assert normal_form(normal_form(text)) == normal_form(text)


def test_equal_numbers_vote_together_unless_the_scorer_told_them_apart() -> None:
    assert votes(["0.5", "1/2", "2", None], [1.0, 1.0, 0.0, 0.0]) == ["1/2", "1/2", "2", None]
    assert votes(["5", "5.0", "5"], [1.0, 0.0, 1.0]) == ["5", "5.0", "5"]
