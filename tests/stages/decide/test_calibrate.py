"""The gate promotes in at most the stated share of nights without a difference, and detects what doctor says."""

from __future__ import annotations

import pytest
from relex.stages.decide.gate import corrected_level
from relex.stages.decide.power import detectable, detectable_gain

from relex.params.load import load
from relex.stages.decide.calibrate import Scene, simulate, table
from tests.builders import ROOT

PARAMS = load(ROOT / "params.yaml")
FREE = PARAMS.decide.model_copy(update={"min_gain": 0.0})  # the tests alone


@pytest.mark.parametrize(
    "scene",
    [
        Scene(candidates=1, problems=100, samples=8, champion=True),
        Scene(candidates=12, problems=100, samples=8, spread=0.2),
        Scene(candidates=3, problems=100, samples=1),
    ],
)
def test_with_no_true_difference_the_gate_promotes_in_at_most_the_stated_share_of_nights(scene: Scene) -> None:
    rate = simulate(scene, FREE, nights=600, seed=1)
    assert rate.low <= FREE.alpha
    assert rate.share <= FREE.alpha + 0.01


def test_the_simulation_would_notice_a_gate_that_promotes_too_often() -> None:
    loose = FREE.model_copy(update={"alpha": 0.45})
    assert simulate(Scene(1, 100, 8, champion=True), loose, nights=200, seed=1).low > FREE.alpha


def test_the_detectable_gain_is_detected_about_as_often_as_stated() -> None:
    gain = detectable_gain(200, 8, corrected_level(0.05, 1), 0.01)
    rate = simulate(Scene(1, 200, 8, gain=gain, champion=True), PARAMS.decide, nights=400, seed=1)
    assert rate.share == pytest.approx(0.8, abs=0.07)


def test_more_problems_and_more_samples_detect_less() -> None:
    level = corrected_level(0.05, 1)
    gains = [detectable_gain(*size, level, 0.0) for size in ((50, 1), (50, 8), (200, 8), (2000, 8))]
    assert gains == sorted(gains, reverse=True)
    assert detectable_gain(10**7, 8, level, 0.05) == pytest.approx(0.05, abs=1e-3)  # min_gain is the floor
    assert detectable_gain(1, 1, level, 0.0) == 0.5


def test_the_default_night_says_what_it_can_detect() -> None:
    found = detectable(PARAMS.decide, PARAMS.evaluate, PARAMS.problems.sizes.validation)
    assert found is not None
    assert (found.problems, found.samples) == (200, 8)
    gain = f"{100 * found.gain:+.1f} points"
    assert str(found) == f"with 200 problems at the gate and k=8 a gain of {gain} is detected in 80% of nights"


def test_the_table_has_a_line_a_scene() -> None:
    text = table(PARAMS.decide, nights=5, seed=0, sizes=((20, 2), (10, 1)))
    assert len([line for line in text.splitlines() if line.startswith("| ") and line[2].isdigit()]) == 12 + 1 + 2
