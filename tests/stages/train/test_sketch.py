"""The random sketch keeps inner products within its stated error, and straight lines straight."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

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


class Counted(TorchDispatchMode):
    """Counts the operations within, and the values that they hand out."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.values = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        self.names.append(func.overloadpacket.__name__)
        if not func.is_view:
            self.values += found.numel() if isinstance(found, torch.Tensor) else 0
        return found


def test_a_step_is_read_once_and_never_copied():
    """What a capture waits for grows with the model: one pass over its values, two operations a row."""
    rows = 60
    x = {"w": torch.ones(64 * rows - 7)}
    sketch = Sketch(64)
    sketch.of(x)  # signs and offsets are drawn once
    with Counted() as counted:
        sketch.of(x)
    assert counted.names.count("addcmul_") <= 2 * rows
    assert "mul" not in counted.names
    assert counted.values <= 64 * rows + 10 * 64  # of the values themselves, and a few sketches


def test_the_rows_of_a_large_tensor_are_shared_among_threads_and_their_number_changes_no_bit():
    x, y = vectors(6, {"large": (64 * 300 + 5,), "small": (40,)}, 2)
    before = torch.get_num_threads()
    try:
        found = {}
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found[threads] = Sketch(64).of(x)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[1], found[3])
    error = float(found[1].double() @ Sketch(64).of(y).double()) - flat(x) @ flat(y)
    assert abs(error) < 4 * relative_error(64) * np.linalg.norm(flat(x)) * np.linalg.norm(flat(y))
