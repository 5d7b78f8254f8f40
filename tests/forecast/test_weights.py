"""forecast.py and subspace.py against a singular value decomposition in float64 on the full matrix."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relex.forecast.fits import line_weights, sinusoid
from relex.forecast.subspace import cosine, explained_share, spectrum
from relex.forecast.weights import Forecast, r_squared, slope_weights, weights


def windows(longest: int = 9) -> st.SearchStrategy[tuple[np.ndarray, np.ndarray]]:
    """(steps [T], deltas [T, d]): irregular steps; a path with some curvature and noise."""

    @st.composite
    def draw(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
        steps = np.cumsum(draw(st.lists(st.integers(1, 12), min_size=4, max_size=longest))).astype(float)
        generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        columns = draw(st.integers(20, 60))
        path = np.outer(steps, generator.normal(size=columns)) + np.outer(
            steps**2 / steps[-1] * draw(st.floats(0, 1)), generator.normal(size=columns)
        )
        return steps, path + draw(st.floats(0.01, 2.0)) * generator.normal(size=path.shape)

    return draw()


def by_svd(steps: np.ndarray, deltas: np.ndarray, target: float, how: Forecast) -> np.ndarray:
    """The predicted delta [d] straight from the definition: project, fit each coefficient, recombine."""
    if how.fit == "two-point" and how.mode != "reconstruct":
        return deltas[-1] * target / steps[-1]
    left, sizes, right = np.linalg.svd(deltas, full_matrices=False)
    rank = len(steps) if how.rank == "full" else how.rank
    coefficients, directions = left[:, :rank] * sizes[:rank], right[:rank]
    if how.mode == "reconstruct":
        return coefficients[list(steps).index(target)] @ directions

    def fitted(column: np.ndarray, at: float) -> float:
        if how.fit == "sinusoid":
            return sinusoid(steps, column, at)
        degree = how.degree if how.fit == "polynomial" else 1
        return float(np.polynomial.Polynomial.fit(steps, column, degree)(at))

    predicted = np.array([fitted(column, target) for column in coefficients.T])
    if how.anchor == "last":
        ends = steps[-how.anchor_mean :]
        now = np.array([np.mean([fitted(column, step) for step in ends]) for column in coefficients.T])
        predicted_delta = deltas[-how.anchor_mean :].mean(axis=0) + (predicted - now) @ directions
    else:
        predicted_delta = predicted @ directions
    return (1 - how.shrink) * predicted_delta + how.shrink * deltas[-1]


def distance(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


@settings(max_examples=150, deadline=None)
@given(
    windows(),
    st.sampled_from(["linear", "polynomial", "two-point"]),
    st.sampled_from(["line", "last"]),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.floats(1.01, 8.0),
    st.data(),
)
def test_every_rank_equals_the_full_decomposition(window, fit, anchor, shrink, reach, data):
    steps, deltas = window
    rank = data.draw(st.one_of(st.integers(1, len(steps)), st.just("full")))
    how = Forecast(rank=rank, fit=fit, anchor="line" if fit == "two-point" else anchor, shrink=shrink)
    target = round(steps[-1] * reach) + 1
    found = weights(deltas @ deltas.T, steps, [target], how)[0] @ deltas
    wanted = by_svd(steps, deltas, target, Forecast(**{**vars(how), "shrink": 0.0}))
    assert distance(found, (1 - shrink) * wanted + shrink * deltas[-1]) < 1e-6


@settings(max_examples=25, deadline=None)
@given(windows(), st.data())
def test_a_sinusoid_equals_the_full_decomposition(window, data):
    steps, deltas = window
    how = Forecast(rank=data.draw(st.integers(1, 2)), fit="sinusoid")
    target = float(steps[-1] + 3)
    # The frequency is chosen by a search, so that noise of 1e-16 in a mode may move it by 1e-8.
    assert (
        distance(weights(deltas @ deltas.T, steps, [target], how)[0] @ deltas, by_svd(steps, deltas, target, how))
        < 1e-4
    )


@settings(max_examples=150, deadline=None)
@given(windows(), st.sampled_from(["linear", "polynomial"]), st.floats(1.01, 8.0), st.data())
def test_an_anchor_at_the_mean_of_the_last_equals_the_full_decomposition(window, fit, reach, data):
    steps, deltas = window
    rank = data.draw(st.one_of(st.integers(1, len(steps)), st.just("full")))
    mean = data.draw(st.integers(1, len(steps)))
    how = Forecast(rank=rank, fit=fit, anchor="last", anchor_mean=mean)
    target = round(steps[-1] * reach) + 1
    found = weights(deltas @ deltas.T, steps, [target], how)[0] @ deltas
    assert distance(found, by_svd(steps, deltas, target, how)) < 1e-5
    # A refit within one stride of the target is the plain fit, anchored or not.
    one = weights(deltas @ deltas.T, steps, [target], dataclasses.replace(how, autoregressive=10**6))[0] @ deltas
    assert distance(one, found) < 1e-5


@settings(max_examples=60, deadline=None)
@given(windows(), st.data())
def test_reconstruct_projects_an_observed_delta(window, data):
    steps, deltas = window
    how = Forecast(rank=data.draw(st.integers(1, len(steps))), mode="reconstruct")
    target = data.draw(st.sampled_from(list(steps)))
    assert (
        distance(weights(deltas @ deltas.T, steps, [target], how)[0] @ deltas, by_svd(steps, deltas, target, how))
        < 1e-6
    )


def test_reconstruct_at_full_rank_gives_the_observed_delta_back():
    generator = np.random.default_rng(0)
    deltas = generator.normal(size=(5, 30))
    found = weights(deltas @ deltas.T, [1, 2, 4, 8, 9], [4], Forecast(rank=5, mode="reconstruct"))[0]
    np.testing.assert_allclose(found, [0, 0, 1, 0, 0], atol=1e-10)


def test_steps_count_and_not_rows():
    # Saves every five steps along a line of slope 1/10: step 500 is 50, not the 220 that row numbers would give.
    steps = np.arange(5, 80, 5)
    deltas = np.outer(steps / 10, np.ones(7))
    found = weights(deltas @ deltas.T, steps, [500], Forecast())[0] @ deltas
    np.testing.assert_allclose(found, 50.0, rtol=1e-9)


@pytest.mark.parametrize("fit", ["linear", "polynomial", "two-point"])
@pytest.mark.parametrize("anchor", ["line", "last"])
@pytest.mark.parametrize("mean", [1, 2, 5])
def test_a_straight_line_through_the_base_stays_one(fit, anchor, mean):
    steps = np.array([3, 4, 9, 11, 20])
    deltas = np.outer(steps, [1.0, -2.0, 0.5])
    found = weights(deltas @ deltas.T, steps, [21, 200], Forecast(fit=fit, anchor=anchor, anchor_mean=mean)) @ deltas
    np.testing.assert_allclose(found, np.outer([21, 200], [1.0, -2.0, 0.5]), rtol=1e-9)


@pytest.mark.parametrize("stride", [1, 3, 7, 1000])
def test_an_autoregressive_refit_of_a_line_is_that_line(stride):
    steps = np.array([2, 3, 7, 10, 12])
    deltas = np.outer(steps, [1.0, -2.0]) + 5.0  # an intercept: a line, not through the base
    how = Forecast(rank=2, autoregressive=stride)
    found = weights(deltas @ deltas.T, steps, [13, 20, 61], how) @ deltas
    np.testing.assert_allclose(found, np.outer([13, 20, 61], [1.0, -2.0]) + 5.0, rtol=1e-8)


def test_an_autoregressive_refit_follows_the_end_of_a_curve():
    steps = np.arange(1.0, 11.0)
    deltas = np.sqrt(steps)[:, None] * np.array([1.0, 2.0])
    gram = deltas @ deltas.T
    plain = weights(gram, steps, [100], Forecast())[0] @ deltas
    refit = weights(gram, steps, [100], Forecast(autoregressive=1))[0] @ deltas
    assert not np.allclose(plain, refit)


def test_a_tensor_that_never_moved_gets_weights_that_do_no_harm():
    assert np.isfinite(weights(np.zeros((4, 4)), [1, 2, 3, 4], [9], Forecast(rank=3))).all()


def test_line_weights_equal_numpys_polynomial_fit():
    generator = np.random.default_rng(1)
    steps, values = np.array([1.0, 2.0, 10.0, 11.0, 40.0]), generator.normal(size=5)
    for degree in (1, 2, 3):
        wanted = np.polynomial.Polynomial.fit(steps, values, degree)(333.0)
        assert line_weights(steps, 333.0, degree) @ values == pytest.approx(wanted, rel=1e-9)
    assert slope_weights(steps) @ values == pytest.approx(np.polyfit(steps, values, 1)[0])


def test_a_sinusoid_is_found_again():
    steps = np.arange(1.0, 41.0)
    values = 2.0 + 3.0 * np.sin(0.31 * steps + 0.4)
    assert sinusoid(steps, values, 47.0) == pytest.approx(2.0 + 3.0 * np.sin(0.31 * 47 + 0.4), abs=1e-3)


def test_r_squared_of_a_line_is_one_and_of_a_parabola_below_it():
    steps = np.arange(-5.0, 6.0)
    assert r_squared(steps, 3 * steps + 1) == pytest.approx(1.0)
    assert r_squared(steps, steps**2) == pytest.approx(0.0, abs=1e-12)
    assert r_squared(steps, steps**2, degree=2) == pytest.approx(1.0)


def test_spectrum_is_that_of_the_singular_value_decomposition():
    deltas = np.random.default_rng(2).normal(size=(6, 40))
    found = spectrum(deltas @ deltas.T)
    np.testing.assert_allclose(found.sigma, np.linalg.svd(deltas)[1], rtol=1e-10)
    share = np.cumsum(found.sigma**2) / np.sum(found.sigma**2)
    np.testing.assert_allclose(explained_share(found.sigma), share)
    assert explained_share(np.zeros(3)).tolist() == [1.0, 1.0, 1.0]


def test_cosine_of_weighted_sums():
    deltas = np.array([[1.0, 0.0], [1.0, 1.0]])
    assert cosine(deltas @ deltas.T, np.array([1.0, 0.0]), np.array([-1.0, 1.0])) == pytest.approx(0.0)
    assert cosine(np.zeros((2, 2)), np.ones(2), np.ones(2)) == 0.0
