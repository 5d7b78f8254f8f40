"""The forecast meter says what relex diagnose would say of the whole model as one vector."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from relex.forecast.backtest import held_out
from relex.forecast.subspace import explained_share, spectrum
from relex.forecast.weights import Forecast
from relex.stages.train.meter import FEWEST, Meter
from relex.stages.train.sketch import Sketch


def fed(window: list[torch.Tensor], columns: int = 1 << 12) -> list[dict[str, float]]:
    meter = Meter(Sketch(columns))
    readings = []
    for step, delta in enumerate(window, 1):
        meter.add(step, meter.sketch.of({"w": delta}))
        readings.append(meter.read())
    return readings


def line(steps: int, noise: float, bend: float = 0.0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    along, across = torch.randn(2, 40_000, generator=generator)
    return [
        t * along + bend * t * t * across + noise * torch.randn(40_000, generator=generator)
        for t in range(1, steps + 1)
    ]


def test_a_straight_line_reads_as_one():
    last = fed(line(12, 0.0))[-1]
    assert last["explained_share"] == pytest.approx(1.0, abs=1e-6)
    assert last["r_squared"] == pytest.approx(1.0, abs=1e-6)
    assert last["skill"] == pytest.approx(1.0, abs=1e-4)


def test_a_path_that_turns_reads_as_worse_than_staying_and_a_noisy_line_as_better():
    straight, (across,) = line(8, 0.0), torch.randn(1, 40_000, generator=torch.Generator().manual_seed(9))
    turned = [*straight, *(straight[-1] + t * across for t in range(1, 5))]
    assert fed(line(12, 0.3))[-1]["skill"] > 0.5
    assert fed(turned)[-1]["skill"] < 0.0


def test_it_agrees_with_the_exact_gram_matrix():
    window = line(10, 0.5, bend=0.02)
    exact = torch.stack(window).double().numpy()
    gram = exact @ exact.T
    steps = list(range(1, 11))
    reading = fed(window, columns=1 << 14)[-1]
    assert reading["explained_share"] == pytest.approx(explained_share(spectrum(gram).sigma)[0], abs=0.02)
    skill = held_out({"all": gram}, steps, 6, Forecast()).skill()[-1]
    assert reading["skill"] == pytest.approx(skill, abs=0.05)


def test_it_says_nothing_before_there_is_something_to_say():
    window = line(FEWEST + 1, 0.0)
    still = [torch.zeros(40_000), *window]  # a warm-up whose first step does not move
    assert [bool(reading) for reading in fed(still)] == [False] * FEWEST + [True, True]


def test_a_meter_goes_on_from_the_sketches_of_another():
    window = line(8, 0.2)
    first = Meter(Sketch(256))
    for step, delta in enumerate(window[:5], 1):
        first.add(step, first.sketch.of({"w": delta}))
    second = Meter(Sketch(256))
    for step, row in zip(first.steps, first.sketches, strict=True):
        second.add(step, row)
    for meter in (first, second):
        meter.add(6, meter.sketch.of({"w": window[5]}))
    assert first.read() == second.read()
    assert np.array_equal(first.sketches, second.sketches)
