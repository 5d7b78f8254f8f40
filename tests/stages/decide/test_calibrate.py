"""The proof promotes in at most the stated share of nights without a difference, and proves what doctor says."""

from __future__ import annotations

import pytest
from scipy.stats import multivariate_normal, norm

from relex.params.load import load
from relex.proof.power import provable, provable_gain, standard_error
from relex.stages.decide.calibrate import Scene, simulate, table
from relex.stages.evaluate.planned import expected_rooms, largest
from tests.builders import ROOT

PARAMS = load(ROOT / "params.yaml")
PLAN = largest(PARAMS.evaluate)
FREE = PARAMS.decide.model_copy(update={"min_gain": 0.0})  # the tests alone


@pytest.mark.parametrize(
    "scene",
    [
        Scene(candidates=1, problems=100, champion=True),
        Scene(candidates=12, problems=100, spread=0.2),
        Scene(candidates=3, problems=20),
    ],
)
def test_with_no_true_difference_it_promotes_in_at_most_the_stated_share_of_nights(scene: Scene) -> None:
    rate = simulate(scene, PLAN, FREE, nights=600, seed=1)
    assert rate.low <= FREE.alpha
    assert rate.share <= FREE.alpha + 0.01


def test_the_simulation_would_notice_a_proof_that_promotes_too_often() -> None:
    loose = FREE.model_copy(update={"alpha": 0.45})
    assert simulate(Scene(1, 100, champion=True), PLAN, loose, nights=200, seed=1).low > FREE.alpha


@pytest.mark.parametrize("power", [0.05, 0.5, 0.8, 0.95])
def test_the_provable_gain_beats_two_opponents_that_share_half_of_the_noise(power: float) -> None:
    """Against the distribution function of the two differences, which takes half a second to import."""
    gain = provable_gain(400, 4, 0.025, 0.0, power)
    error = standard_error(400, 4, gain)
    margin = gain / error - norm.isf(0.025)
    both = multivariate_normal(mean=[0.0, 0.0], cov=[[1.0, 0.5], [0.5, 1.0]])
    assert both.cdf([margin, margin]) == pytest.approx(power, abs=1e-6)


def test_the_provable_gain_is_proven_about_as_often_as_stated() -> None:
    scene = Scene(1, 200, champion=True)
    found = provable(scene.rooms, PLAN, PARAMS.decide)
    assert found is not None
    rate = simulate(Scene(1, 200, gain=found.gain, champion=True), PLAN, PARAMS.decide, nights=400, seed=1)
    assert rate.share == pytest.approx(0.8, abs=0.1)


def test_a_clear_gain_takes_a_fraction_of_the_rows_of_a_fixed_design() -> None:
    scene = Scene(5, 200, gain=0.35, champion=True)
    rate = simulate(scene, PLAN, PARAMS.decide, nights=50, seed=1)
    assert rate.share == 1.0
    assert rate.gate <= 0.1 * scene.fixed


def test_the_race_picks_nearly_the_best_of_many_with_few_rows() -> None:
    rate = simulate(Scene(15, 200, gain=0.35, champion=True, graded=True), PLAN, PARAMS.decide, nights=60, seed=1)
    assert 0.0 <= rate.missed < 0.02
    assert rate.race < 4_000
    same = simulate(Scene(15, 200, gain=0.35, champion=True), PLAN, PARAMS.decide, nights=10, seed=1)
    assert same.missed == 0.0


def test_a_loss_out_of_domain_is_refused_and_no_loss_is_not() -> None:
    better = Scene(1, 200, gain=0.35, ood=300)
    assert simulate(better, PLAN, PARAMS.decide, nights=40, seed=1).share > 0.4


def test_more_problems_and_more_samples_prove_less() -> None:
    gains = [provable_gain(*size, 0.025, 0.0) for size in ((50, 1), (50, 8), (200, 8), (2000, 8))]
    assert gains == sorted(gains, reverse=True)
    assert provable_gain(10**7, 8, 0.025, 0.05) == pytest.approx(0.05, abs=1e-3)  # min_gain is the floor
    assert provable_gain(1, 1, 0.025, 0.0) == 0.5


def test_the_default_night_says_what_it_can_prove() -> None:
    rooms = expected_rooms(PARAMS.evaluate, PARAMS.problems.sizes.model_dump())
    assert rooms is not None
    found = provable(rooms, PLAN, PARAMS.decide)
    assert found is not None
    assert (found.problems, found.samples) == (200, 16)
    gain = f"{100 * found.gain:+.1f} points"
    assert str(found) == (
        f"with 200 problems at the gate and up to 16 samples of each, a gain of {gain} is proven in 80% of nights"
    )


def test_the_table_has_a_line_a_scene() -> None:
    text = table(PARAMS.decide, PLAN, nights=3, seed=0, sizes=(20, 10))
    scenes = 12 + 2 + 2 + 5 + 4 + 3
    assert len([line for line in text.splitlines() if line.startswith("| ") and line[2] in "0123456789+"]) == scenes
