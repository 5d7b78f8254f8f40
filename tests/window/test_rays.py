"""What a request makes of a Gram matrix, ray by ray, against float64 sums over the deltas themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relex.core.errors import InputErrors
from relex.window.options import Options
from relex.window.request import Request
from tests.forecast.test_weights import by_svd, distance, windows

NAMES = {
    "attention": "model.layers.0.self_attn.q_proj.weight",
    "mlp": "model.layers.0.mlp.up_proj.weight",
    "norms": "model.norm.weight",
    "embeddings": "model.embed_tokens.weight",
    "other": "model.layers.0.mixer.weight",
}
OPTIONS = st.sampled_from(
    [
        Options(),
        Options(rank=2, fit="polynomial"),
        Options(rank="full", anchor="last"),
        Options(anchor="last", anchor_mean=3),
    ]
)


def sums(request: Request, name: str, steps: np.ndarray, deltas: np.ndarray) -> np.ndarray:
    return request.weights(name, deltas @ deltas.T, [int(step) for step in steps]) @ deltas


@settings(max_examples=150, deadline=None)
@given(windows(), OPTIONS, st.sampled_from(sorted(NAMES)), st.floats(0.0, 2.0), st.floats(1.1, 8.0))
def test_a_kind_goes_its_part_of_the_way_and_the_others_all_of_it(window, options, kind, size, reach):
    steps, deltas = window
    target = round(steps[-1] * reach) + 1
    request = Request((target,), options.model_copy(update={"kinds": {kind: size}}))
    forecast = by_svd(steps, deltas, target, options.forecast())
    for named, name in NAMES.items():
        wanted = deltas[-1] + (size if named == kind else 1.0) * (forecast - deltas[-1])
        assert distance(sums(request, name, steps, deltas)[0], wanted) < 1e-5


@settings(max_examples=50, deadline=None)
@given(windows(), OPTIONS, st.floats(0.0, 500.0), st.floats(0.0, 2.0), st.floats(1.1, 8.0))
def test_a_kind_in_one_layer_goes_before_its_kind(window, options, layer, size, reach):
    steps, deltas = window
    target = round(steps[-1] * reach) + 1
    request = Request((target,), options.model_copy(update={"kinds": {"mlp.1": layer, "mlp": size}}))
    forecast = by_svd(steps, deltas, target, options.forecast())
    for name, far in (("model.layers.1.mlp.up_proj.weight", layer), (NAMES["mlp"], size), (NAMES["norms"], 1.0)):
        wanted = deltas[-1] + far * (forecast - deltas[-1])
        assert distance(sums(request, name, steps, deltas)[0], wanted) < 1e-5


@settings(max_examples=150, deadline=None)
@given(windows(), OPTIONS, st.lists(st.integers(1, 200), min_size=2, max_size=4, unique=True), st.floats(0.0, 2.0))
def test_a_soup_is_the_mean_of_its_forecasts(window, options, beyond, size):
    steps, deltas = window
    soup = tuple(int(steps[-1]) + step for step in beyond)
    request = Request((), options.model_copy(update={"soup": soup, "kinds": {"mlp": size}}))
    each = [by_svd(steps, deltas, step, options.forecast()) for step in soup]
    found = sums(request, NAMES["mlp"], steps, deltas)
    assert request.targets == (round(np.mean(soup)),)
    assert found.shape[0] == 1
    assert distance(found[0], deltas[-1] + size * (np.mean(each, axis=0) - deltas[-1])) < 1e-5


@settings(max_examples=60, deadline=None)
@given(windows(), st.floats(0.1, 3.0))
def test_a_soup_is_made_of_capped_forecasts(window, cap):
    steps, deltas = window
    soup = (int(steps[-1]) + 5, int(steps[-1]) + 100)
    found = sums(Request((), Options(soup=soup, norm_cap=cap)), "w", steps, deltas)
    each = sums(Request(soup, Options(norm_cap=cap)), "w", steps, deltas)
    assert distance(found[0], each.mean(axis=0)) < 1e-5


@settings(max_examples=60, deadline=None)
@given(windows(), st.data())
def test_a_late_slope_starts_at_the_last_observed_or_at_the_mean_of_the_last(window, data):
    steps, deltas = window
    first = data.draw(st.integers(0, len(steps) - 2))
    mean = data.draw(st.integers(1, len(steps) - first))
    options = Options(first=int(steps[first]), anchor="last", anchor_mean=mean, rank="full")
    target = int(steps[-1]) + 50
    found = sums(Request((target,), options), "w", steps, deltas)[0]
    slope = np.polyfit(steps[first:], deltas[first:], 1)[0]
    wanted = deltas[-mean:].mean(axis=0) + slope * (target - steps[-mean:].mean())
    assert distance(found, wanted) < 1e-5


def test_the_facts_of_a_request_give_it_back():
    options = Options(anchor="last", anchor_mean=3, kinds={"mlp": 0.5, "norms": 0.0})
    for request in (Request((30,), options), Request((), options.model_copy(update={"soup": (30, 90)}))):
        assert Request.of_facts(request.facts()) == request
    # A registered version says the winner's step, which of a soup is its mean.
    assert Request.of_facts(request.facts() | {"targets": [60]}) == request


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"anchor_mean": 0}, "at least one step"),
        ({"anchor_mean": 2}, "only anchor `last`"),
        ({"anchor_mean": 2, "anchor": "last", "fit": "two-point"}, "only anchor `last`"),
        ({"anchor_mean": 5, "anchor": "last"}, "above the window"),
        ({"kinds": {}}, "at least one kind"),
        ({"kinds": {"mlp": -1.0}}, "0 or more"),
        ({"kinds": {"mlp": float("nan")}}, "0 or more"),
        ({"kinds": {"mlp": 1.0, "embeddings": 0.5}}, "no tensor is of this kind"),
        ({"soup": (9,)}, "two or more distinct"),
        ({"soup": (9, 9)}, "two or more distinct"),
        ({"soup": (3, 9)}, "not beyond the window"),
    ],
)
def test_what_a_ray_cannot_be_is_refused(options, said):
    request = Request(() if "soup" in options else (9,), Options.of_flags(options))
    with pytest.raises(InputErrors, match=said):
        request.check([1, 2, 3, 4], [NAMES["mlp"]])


@settings(max_examples=100, deadline=None)
@given(windows(), OPTIONS, st.floats(0.0, 2.0), st.booleans())
def test_a_damped_tensor_goes_as_far_as_its_backtest_has_skill(window, options, size, damped):
    steps, deltas = window
    how = options.forecast()
    target, half = int(steps[-1]) + 40, min(max(round(len(steps) / 2), 2), len(steps) - 1)
    cut = replace(how, rank=how.rank if how.rank == "full" else min(how.rank, half), degree=min(how.degree, half - 1))
    cut = replace(cut, anchor_mean=min(how.anchor_mean, half))
    error = np.sum((by_svd(steps[:half], deltas[:half], int(steps[-1]), cut) - deltas[-1]) ** 2)
    stay = np.sum((deltas[half - 1] - deltas[-1]) ** 2)
    skill = 1.0 - error / stay if len(steps) > 2 else 0.0
    far = size * (np.clip(skill, 0.0, 1.0) if damped else float(skill > 0.0))
    request = Request(
        (target,), options.model_copy(update={"kinds": {"mlp": size}, "damped": damped, "backtested": True})
    )
    wanted = deltas[-1] + far * (by_svd(steps, deltas, target, how) - deltas[-1])
    assert distance(sums(request, NAMES["mlp"], steps, deltas)[0], wanted) < 1e-5
