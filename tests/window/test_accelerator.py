"""The accelerator on the device `cpu`, whose queues do everything as late as they may: overlap, bounds, rounding."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from relex.checkpoints.tensors import CheckpointReader
from relex.checkpoints.writer import CheckpointWriter
from relex.core.errors import CorruptArtifact
from relex.forecast.directed import Directed
from relex.stages.extrapolate.combine import write_sums
from relex.trajectory.reader import Trajectory
from relex.window import accelerator as accelerated
from relex.window import products
from relex.window.accelerator import Accelerator
from relex.window.importing import import_checkpoints
from relex.window.kernels import decode as kernels
from relex.window.processor import Processor
from relex.window.queues import Mark, Queue, page_locked_bytes, queues_of
from relex.window.rounding import Rounding
from relex.window.rows import Rows, Window
from relex.window.stream import Stream
from relex.window.transfer import Stored
from tests.builders.windows import line_with_noise, save, tiny_llama, write_checkpoints, write_trajectory

STEPS = [2, 3, 7, 8, 15]
NAME = "model.embed_tokens.weight"  # 197,552 values in four blocks: above the size of float64 products
LARGE = 1 << 30
CUDA = pytest.param(
    "cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")]
)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A trajectory of bfloat16 checkpoints, and its base."""
    folder = tmp_path_factory.mktemp("large")
    model = tiny_llama(vocab_size=12_347)
    base = save(model, folder / "base", dtype=torch.bfloat16)
    path = line_with_noise(rate=1e-3, noise=3e-4)
    source = write_checkpoints(folder / "full", model, STEPS, path, dtype=torch.bfloat16)
    import_checkpoints(source, base, folder / "window")
    return folder / "window", base


class Recorded:
    """The plain queues of `cpu` behind the same interface, noting what is asked of them: CUDA's cannot be had here.

    A copy whose source has changed since it was sent raises. As the plain queue copies only when somebody waits, that
    is any buffer that is filled again before its copy's event was waited for.
    """

    def __init__(self) -> None:
        self._plain = queues_of("cpu")
        self.place, self.log, self.queues, self.taken = self._plain.place, [], [], 0

    def new(self) -> Queue:
        self.queues.append(RecordedQueue(self, self._plain.new()))
        return self.queues[-1]

    def page_locked(self, size: int) -> torch.Tensor:
        self.taken += page_locked_bytes(size)
        return self._plain.page_locked(size)

    def on_device(self, size: int, queue: Queue) -> torch.Tensor:
        self.taken += size
        return self._plain.on_device(size, queue)


class RecordedQueue:
    def __init__(self, owner: Recorded, plain: Queue):
        self.owner, self.plain, self.left = owner, plain, False

    def put(self, operation: Callable[[], None]) -> None:
        self.left = True
        self.plain.put(operation)

    def send(self, there: torch.Tensor, here: torch.Tensor) -> None:
        self.owner.log.append("copy")
        sent = here.clone()

        def copy() -> None:
            assert torch.equal(here, sent), "filled again before it was copied"
            there.copy_(here)

        self.put(copy)

    def mark(self) -> Mark:
        return RecordedMark(self.owner, self.plain.mark())

    def after(self, mark: Mark) -> None:
        assert isinstance(mark, RecordedMark)
        self.left = True
        self.plain.after(mark.plain)

    def finish(self) -> None:
        self.left = False
        self.plain.finish()


class RecordedMark:
    def __init__(self, owner: Recorded, plain: Mark):
        self.owner, self.plain = owner, plain

    def wait(self) -> None:
        self.owner.log.append("wait")
        self.plain.wait()


def both(window: Window, arithmetic, *, threads: int = 1, dtype: str = "F32") -> tuple[np.ndarray, np.ndarray]:
    """G of the large tensor, and two sums of it."""
    out = np.empty((2, window.numel(NAME)), np.float32 if dtype == "F32" else np.uint16)

    def emit(start: int, values: np.ndarray) -> None:
        out[:, start : start + values.shape[1]] = values

    weights = Directed.plain(np.random.default_rng(0).normal(size=(2, len(STEPS))))
    with Stream(window, LARGE, arithmetic, targets=2, threads=threads) as stream, stream.opened(NAME) as opened:
        gram = stream.gram(opened)
        stream.sums(opened, weights, emit, dtype=dtype)
    return gram, out


@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_the_same_bits_however_many_blocks_and_threads_are_on_the_way(large, device):
    with Window(Trajectory(large[0]), large[1]) as window:
        found = [
            b"".join(part.tobytes() for part in both(window, Accelerator(queues_of(device), in_flight=n), threads=m))
            for n, m in ((1, 1), (2, 1), (2, 3), (3, 1))
        ]
    assert len(set(found)) == 1


@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_a_large_tensor_is_within_the_bound_of_float64_and_beside_the_processor(large, device):
    with Window(Trajectory(large[0]), large[1]) as window:
        mine, sums = both(window, Accelerator(queues_of(device)))
        other, wanted = both(window, Processor())
        origin = window.base.tensor(NAME).reshape(-1).double()
        rows = [reader.tensor(NAME).reshape(-1).double() - origin for reader in window._full]
    deltas = torch.stack(rows).numpy()
    lead = np.asarray(STEPS) / STEPS[-1]
    lead[-1] = 0
    residuals = np.linalg.norm(deltas - lead[:, None] * deltas[-1], axis=1)
    mix = np.eye(len(STEPS))
    mix[:, -1] += lead
    allowed = mix @ (products.BOUND * np.outer(residuals, residuals)) @ mix.T
    assert (np.abs(mine - deltas @ deltas.T) <= allowed).all()
    np.testing.assert_allclose(mine, other, rtol=1e-5)
    np.testing.assert_allclose(sums, wanted, rtol=1e-6)


def test_the_next_block_goes_over_before_a_result_is_waited_for_and_no_buffer_is_filled_too_early(large):
    queues = Recorded()
    with Window(Trajectory(large[0]), large[1]) as window:
        both(window, Accelerator(queues))
        one_pass = ["copy", "copy", "wait", "copy", "wait", "copy", "wait", "wait"]
        assert queues.log == 2 * one_pass
        count = len(queues.queues)
        least = Accelerator(queues_of("cpu")).bytes_needed(len(STEPS), 1 << 17, 2)
    assert count == 2  # a copying and a computing one of the thread
    assert 0 < queues.taken <= least


@pytest.mark.parametrize("fault", ["emit", "file"])
def test_nothing_is_left_on_the_way_after_an_error(large, fault, monkeypatch):
    queues, seen, read = Recorded(), [], os.preadv

    def emit(start: int, values: np.ndarray) -> None:
        seen.append(start)
        if fault == "emit" and len(seen) == 2:
            raise ZeroDivisionError

    def ends_early(handle, buffers, position):
        return 0 if "copy" in queues.log else read(handle, buffers, position)

    weights = Directed.plain(np.ones((1, len(STEPS))))
    with (
        Window(Trajectory(large[0]), large[1]) as window,
        Stream(window, LARGE, Accelerator(queues), targets=1, threads=1) as stream,
        stream.opened(NAME) as opened,
    ):
        with monkeypatch.context() as patch, pytest.raises((ZeroDivisionError, CorruptArtifact)):
            if fault == "file":
                patch.setattr(os, "preadv", ends_early)
            stream.sums(opened, weights, emit)
        assert queues.log.count("copy") > queues.log.count("wait")
        assert not any(queue.left for queue in queues.queues)
        fresh = np.empty((1, window.numel(NAME)), np.float32)

        def keep(start: int, values: np.ndarray) -> None:
            fresh[:, start : start + values.shape[1]] = values

        stream.sums(opened, weights, keep)  # the same thread's slots
        assert np.isfinite(fresh).all()


def test_deltas_too_small_for_float32_products_are_multiplied_in_float64(tmp_path):
    base = save(tiny_llama(vocab_size=12_347), tmp_path / "base")
    held: list[torch.Tensor] = []

    def path(step: int, name: str, theta: torch.Tensor) -> torch.Tensor:
        delta = 1e-25 * torch.randn(theta.shape, generator=torch.Generator().manual_seed(step))
        if name == NAME:
            held.append(delta.reshape(-1).double())
        return delta

    write_trajectory(tmp_path / "window", base, STEPS, path)
    with (
        Window(Trajectory(tmp_path / "window"), base) as window,
        Stream(window, LARGE, Accelerator(queues_of("cpu")), targets=0) as stream,
        stream.opened(NAME) as opened,
    ):
        gram = stream.gram(opened)
    rows = torch.stack(held).numpy()
    np.testing.assert_allclose(gram, rows @ rows.T, rtol=1e-9, atol=1e-12 * (rows[0] @ rows[0]))


@st.composite
def residuals(draw) -> torch.Tensor:
    """Rows [T, C] float64 of several sizes: noise, columns of unlike sizes, all alike, and one nearly another's."""
    steps, columns = draw(st.integers(2, 6)), draw(st.sampled_from([1, 127, 128, 129, 1000, 20_000]))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    kind = draw(st.sampled_from(["noise", "unlike", "alike", "nearly"]))
    rows = rng.normal(size=(steps, columns))
    if kind == "unlike":
        rows *= 10.0 ** rng.uniform(-9, 0, columns)
    elif kind == "alike":
        rows = np.full((steps, columns), 1 + 2.0**-23 + 2.0**-25)
    elif kind == "nearly":
        rows[0] = -rows[1] * (1 + 1e-7 * rng.normal(size=columns))
    return torch.from_numpy(rows * 2.0 ** draw(st.integers(-30, 40)))


@settings(max_examples=60, deadline=None)
@given(residuals(), st.integers(0, 1))
def test_products_in_float32_are_within_the_bound(rows, first):
    found = products.single_products(rows, first).numpy()
    wanted = products.products(rows, first).numpy()
    norms = rows.norm(dim=1).numpy()
    assert products.in_range(found[-1])
    assert (np.abs(found[:-1] - wanted) <= products.BOUND * np.outer(norms, norms)[first:]).all()
    assert products.BOUND < 1e-5


def test_products_of_numbers_of_eight_bits_are_exact_however_many_there_are():
    # 128 of them have a sum of 24 bits, all together one of more: as float32 it would be rounded.
    rows = torch.from_numpy(np.random.default_rng(0).integers(-255, 256, (5, 20_111)).astype(float))
    rows[0] = 255
    found = products.single_products(rows, 0)[:-1].numpy()
    np.testing.assert_array_equal(found, products.products(rows, 0).numpy())
    assert found[0, 0] == 20_111 * 255**2


@pytest.mark.parametrize("value", [1e-25, 1e-13, 1e20, float("inf"), float("nan")])
def test_rows_that_the_bound_does_not_hold_for_are_told(value):
    rows = torch.ones(3, 200, dtype=torch.float64)
    rows[1] = 0
    assert products.in_range(products.single_products(rows, 0)[-1].numpy())
    rows[1] = value
    assert not products.in_range(products.single_products(rows, 0)[-1].numpy())


def rounded_on(device: str, values: np.ndarray, dtype: str) -> np.ndarray:
    """What the accelerator's last lines make of float32 sums [N]."""
    there = torch.from_numpy(values.copy())[None].to(device)
    rows = Rows("w", len(values), kernels.KIND_FLOAT32, False, (), (), None, kernels.KIND_FLOAT32)
    factors = torch.tensor([[1.0, 0.0]], dtype=torch.float64, device=device)
    stored = Stored(there, torch.zeros_like(there[0]), torch.ones(1, 1, device=device), factors)
    result = torch.empty(1, len(values), dtype=accelerated._ROUNDED[dtype])
    accelerated._sums_into(result, rows, stored, Directed.plain(np.ones((1, 1))), onto_base=True)
    return result[0].view(torch.int32 if dtype == "F32" else torch.int16).numpy()


@pytest.mark.parametrize("dtype", ["F32", "BF16", "F16"])
@pytest.mark.parametrize("device", ["cpu", CUDA])
@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, (1 << 32) - 1), min_size=1, max_size=40), st.integers(0, 1 << 16))
def test_sums_are_rounded_to_the_bits_that_the_host_rounds_them_to(device, dtype, drawn, half):
    ties = (np.arange(half, half + 40, dtype=np.uint32) << np.uint32(16)) | np.uint32(0x8000)
    values = np.concatenate([np.array(drawn, np.uint32), ties]).view(np.float32)
    values[values == 0] = 0.0  # -0.0 + theta_0 is theta_0
    wanted = Rounding()(values, dtype)
    found = rounded_on(device, values, dtype).view(np.uint32 if dtype == "F32" else np.uint16)
    number = ~np.isnan(values)
    np.testing.assert_array_equal(found[number], wanted.view(found.dtype)[number])
    back = torch.from_numpy(found.view(np.int32 if dtype == "F32" else np.int16))
    assert back.view(accelerated._ROUNDED[dtype])[torch.from_numpy(~number)].isnan().all()


@pytest.mark.parametrize("dtype", ["BF16", "F16"])
@pytest.mark.parametrize("make", [Processor, lambda: Accelerator(queues_of("cpu"))], ids=["processor", "torch"])
def test_what_is_handed_on_rounded_is_what_was_handed_on_whole_and_rounded_after(large, make, dtype):
    with Window(Trajectory(large[0]), large[1]) as window:
        whole, rounded = both(window, make())[1], both(window, make(), dtype=dtype)[1]
    np.testing.assert_array_equal(rounded, Rounding()(whole, dtype))


@pytest.mark.parametrize("random", [False, True], ids=["sums", "with a random direction"])
def test_checkpoints_are_those_of_the_processor(large, tmp_path, random):
    weights = np.random.default_rng(1).normal(size=(2, len(STEPS)))
    found = []
    for at, arithmetic in enumerate((Processor(), Accelerator(queues_of("cpu")))):
        folders = [tmp_path / f"{at}-{k}" for k in range(2)]
        for folder in folders:
            folder.mkdir()
        with Window(Trajectory(large[0]), large[1]) as window:
            writers = [CheckpointWriter(folder, window.base) for folder in folders]
            with writers[0], writers[1], Stream(window, LARGE, arithmetic, targets=2, threads=2) as stream:
                signs = (lambda *_: np.array([0.0, 1e-3])) if random else None
                write_sums(stream, lambda *_: Directed.plain(weights), writers, 0, {}, signs_of=signs)
        for folder in folders:
            with CheckpointReader(folder) as reader:
                found.append({name: reader.tensor(name).clone() for name in reader.names})
    for mine, other in zip(found[:2], found[2:], strict=True):
        for name in mine:
            # A sum that lies within float64's rounding of half-way may go either way.
            assert (mine[name] != other[name]).float().mean() < 1e-3
            torch.testing.assert_close(mine[name], other[name], rtol=2.0**-7, atol=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_the_device_memory_taken_is_what_was_said(large):
    with Window(Trajectory(large[0]), large[1]) as window:
        arithmetic = Accelerator(queues_of("cuda"))
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        both(window, arithmetic)
        workspace = 64 << 20  # of the matrix library, whatever the block
        needed = arithmetic.bytes_needed(len(STEPS), arithmetic.widest(len(STEPS)), 2)
        assert torch.cuda.max_memory_allocated() - before <= needed + workspace
