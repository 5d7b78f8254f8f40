"""The random sketch keeps inner products within its stated error, and straight lines straight."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from relex.stages.train.sketch import Sketch, relative_error


def vectors(seed: int, shapes: dict[str, tuple[int, ...]], count: int) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [{name: torch.randn(shape, generator=generator) for name, shape in shapes.items()} for _ in range(count)]


def flat(tensors: dict[str, torch.Tensor]) -> np.ndarray:
    return np.concatenate([tensors[name].double().numpy().ravel() for name in sorted(tensors)])


SHAPES = {"a": (70, 9), "b": (33,), "c": (5, 5, 5), "d": (257,)}


def errors(make, columns: int, seeds: int) -> np.ndarray:
    """(<Sx, Sy> - <x, y>) / (|x| |y|) over many sketches."""
    x, y = make
    truth, norm = flat(x) @ flat(y), np.linalg.norm(flat(x)) * np.linalg.norm(flat(y))
    found = []
    for seed in range(seeds):
        sketch = Sketch(columns, seed)
        found.append((float(sketch.of(x).double() @ sketch.of(y).double()) - truth) / norm)
    return np.array(found)


@pytest.mark.parametrize("columns", [16, 64])
@pytest.mark.parametrize("kind", ["random", "same", "constant", "spike"])
def test_products_are_unbiased_and_their_error_stays_within_the_stated_bound(kind, columns):
    x, y = vectors(1, SHAPES, 2)
    if kind == "same":
        y = x
    elif kind == "constant":  # aligned rows: the worst case for a sketch by rotation
        x = y = {name: torch.ones(shape) for name, shape in SHAPES.items()}
    elif kind == "spike":
        x = {name: torch.zeros(shape) for name, shape in SHAPES.items()}
        x["a"][3, 3] = 1.0
    found = errors((x, y), columns, 600)
    deviation = found.std()
    assert abs(found.mean()) < 4 * relative_error(columns) / 600**0.5
    assert np.sqrt(np.mean(found**2)) <= relative_error(columns) * 1.1  # 600 draws of the root mean square
    if kind in ("random", "constant"):
        assert deviation > 0  # the test would notice a sketch that keeps everything


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.floats(-3, 3), st.floats(-3, 3))
def test_the_sketch_is_linear(seed, a, b):
    x, y = vectors(seed, SHAPES, 2)
    sketch = Sketch(64, seed)
    mixed = {name: a * x[name] + b * y[name] for name in SHAPES}
    assert torch.allclose(sketch.of(mixed), a * sketch.of(x) + b * sketch.of(y), atol=1e-4)


def test_a_gram_matrix_from_sketches_is_close_to_the_exact_one():
    window = vectors(3, {"w": (400, 300)}, 6)
    sketch = Sketch(1 << 14)
    rows = torch.stack([sketch.of(step) for step in window]).double().numpy()
    exact = np.stack([flat(step) for step in window])
    norms = np.linalg.norm(exact, axis=1)
    error = np.abs(rows @ rows.T - exact @ exact.T) / np.outer(norms, norms)
    assert error.max() < 4 * relative_error(1 << 14)


def test_a_vector_shorter_than_a_row_is_kept_exactly():
    x, y = vectors(4, {"w": (50,)}, 2)
    sketch = Sketch(64)
    assert float(sketch.of(x) @ sketch.of(y)) == pytest.approx(flat(x) @ flat(y), rel=1e-5)


def test_another_process_draws_the_same_sketch():
    (x,) = vectors(5, SHAPES, 1)
    assert torch.equal(Sketch(64, 7).of(x), Sketch(64, 7).of(dict(reversed(x.items()))))
    assert not torch.equal(Sketch(64, 7).of(x), Sketch(64, 8).of(x))
