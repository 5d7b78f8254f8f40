"""Numbers as the page writes them, and the little arithmetic behind its charts."""

from __future__ import annotations

import numpy as np
import pytest

from relex.stages.report import words
from relex.stages.report.charts import running_mean
from relex.stages.report.data import Model


@pytest.mark.parametrize(("value", "text"), [(0.4824, ".482"), (1.0, "1.000"), (0.0, ".000"), (0.9996, "1.000")])
def test_a_share_has_three_digits(value, text):
    assert words.share(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.37, "+37.0"), (-0.061, "\N{MINUS SIGN}6.1"), (0.0, "+0.0")])
def test_a_difference_is_in_points_with_its_sign(value, text):
    assert words.points(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 s"),
        (0.255, "0.26 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (194.1, "3 min 14 s"),
        (3599.7, "1 h 0 min"),
        (7500, "2 h 5 min"),
    ],
)
def test_a_duration_has_its_two_largest_units(value, text):
    assert words.seconds(value) == text


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (45, "1\N{MULTIPLICATION SIGN}"),
        (300, "6.7\N{MULTIPLICATION SIGN}"),
        (630, "14\N{MULTIPLICATION SIGN}"),
        (451, "10\N{MULTIPLICATION SIGN}"),
    ],
)
def test_a_horizon_is_in_multiples_of_the_window(step, text):
    assert words.multiple(step, 45) == text


def test_a_candidate_of_a_variant_says_so_and_a_control_is_none():
    found = Model(kind="candidate", step=300, model_sha256="cd", weights_sha256="ab")
    assert words.model("step_000300", found, 45, "forecast") == "forecast 300 (6.7\N{MULTIPLICATION SIGN})"
    late = words.model("step_000300-late", found, 45, "forecast")
    assert late == "forecast 300, late (6.7\N{MULTIPLICATION SIGN})"
    control = words.model("step_000300-random", found.model_copy(update={"control": True}), 45, "forecast")
    assert control == "control 300, random (6.7\N{MULTIPLICATION SIGN})"


def test_the_running_mean_of_a_line_is_the_line_and_the_ends_average_what_there_is():
    values = np.array([1.0, 2.0, 3.0, 4.0, 10.0])
    np.testing.assert_allclose(running_mean(values, 3), [1.5, 2.0, 3.0, 17 / 3, 7.0])
    np.testing.assert_allclose(running_mean(np.arange(20.0), 9)[4:-4], np.arange(20.0)[4:-4])
