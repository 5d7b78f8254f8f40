"""From rows to metrics, by hand."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relex.stages.evaluate.metrics import summarise
from relex.stages.evaluate.schema import CACHED
from relex.stages.evaluate.votes import normal_form, votes


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
def test_any_text_has_a_form_and_a_form_is_its_own(text: str) -> None:
    assert normal_form(normal_form(text)) == normal_form(text)


def table(*problems: list[tuple[str | None, float, str]]) -> pa.Table:
    """Rows of problems, each a list of (extracted, score, finish reason)."""
    empty: dict[str, Any] = {"prompt": "", "completion": "", "tokens": 3, "timed_out": False, "seconds": 0.0}
    return pa.Table.from_pylist(
        [
            {"problem": str(i), "sample": j, "extracted": answer, "score": score, "finish_reason": reason, **empty}
            for i, samples in enumerate(problems)
            for j, (answer, score, reason) in enumerate(samples)
        ],
        schema=CACHED,
    )


def test_the_metrics_of_two_problems_are_those_counted_by_hand() -> None:
    rows = table(
        [("0.5", 1.0, "stop"), ("1/2", 1.0, "stop"), ("7", 0.0, "stop"), ("7.", 0.0, "length")],
        [("3", 0.0, "stop"), ("3.0", 0.0, "stop"), ("5", 1.0, "stop"), (None, 0.0, "length")],
    )
    found = summarise(rows, (1, 4, 8), 0.95, 200, 0)
    values = {name: metric["value"] for name, metric in found.items() if isinstance(metric, dict)}
    assert values == {
        "avg_at_4": 0.375,
        "pass_at_1": 0.375,
        "pass_at_4": 1.0,
        "majority_at_4": 0.25,  # the first problem's votes are tied, the second's 3 and 3.0 are one wrong answer
        "truncated": 0.25,
        "unparsable": 0.125,
        "non_finite": 0.0,
        "timed_out": 0.0,
    }
    assert (found["problems"], found["samples"], found["tokens"]) == (2, 4, 24)


def test_equal_numbers_vote_together_unless_the_scorer_told_them_apart() -> None:
    assert votes(["0.5", "1/2", "2", None], [1.0, 1.0, 0.0, 0.0]) == ["1/2", "1/2", "2", None]
    assert votes(["5", "5.0", "5"], [1.0, 0.0, 1.0]) == ["5", "5.0", "5"]
