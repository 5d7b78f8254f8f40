"""Streaming Gram matrices and sums: exact to float64, the same bytes whatever the budget, threads and arithmetic."""

from __future__ import annotations

import itertools
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from relex.core.errors import CorruptArtifact, InputError
from relex.forecast.directed import Directed
from relex.trajectory.reader import Trajectory
from relex.window import opened as opened_rows
from relex.window.accelerator import Accelerator
from relex.window.arithmetic import blocks_of
from relex.window.importing import import_checkpoints
from relex.window.kernels import decode as kernels
from relex.window.opened import deltas
from relex.window.processor import Processor
from relex.window.queues import queues_of
from relex.window.rows import Window
from relex.window.stream import Stream
from tests.builders.windows import line_with_noise, save, tiny_llama, write_checkpoints, write_trajectory

STEPS = [2, 3, 7, 8, 15, 16, 21]
LARGE = 1 << 30


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    """Every kind of stored row: {name: (trajectory, base)}."""
    folder = tmp_path_factory.mktemp("windows")
    path = line_with_noise(rate=1e-3, noise=3e-4)
    found = {}
    for dtype, short in ((torch.float32, "float32"), (torch.bfloat16, "bfloat16"), (torch.float16, "float16")):
        model = tiny_llama(vocab_size=1501, tied=short != "float16")  # rows that no power of two divides
        base = save(model, folder / f"base-{short}", dtype=dtype)
        source = write_checkpoints(folder / f"full-{short}", model, STEPS, path, dtype=dtype)
        import_checkpoints(source, base, folder / f"window-{short}")
        found[f"full {short}"] = (folder / f"window-{short}", base)
    for codec in ("float32", "bfloat16", "float16", "int8"):
        target = write_trajectory(folder / codec, folder / "base-float16", STEPS, path, codec=codec)
        found[f"deltas {codec}"] = (target, folder / "base-float16")
    return found


KINDS = [
    *(f"full {d}" for d in ("float32", "bfloat16", "float16")),
    *(f"deltas {c}" for c in ("float32", "bfloat16", "float16", "int8")),
]


ARITHMETICS = [
    pytest.param(Processor, id="processor"),
    pytest.param(lambda: Accelerator(queues_of("cpu")), id="torch"),
    pytest.param(
        lambda: Accelerator(queues_of("cuda")),
        id="cuda",
        marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")],
    ),
]


def reference(window: Window, name: str, *, single: bool = True) -> np.ndarray:
    """The deltas [T, d] in float64, by safetensors' own reader and the codec; `single`: checkpoints in float32."""
    wide = torch.float32 if single else torch.float64
    trajectory, rows = window.trajectory, []
    base = load_file(window.base.folder / "model.safetensors")[name].float()
    for step in trajectory.manifest.steps:
        stored = load_file(trajectory.path(step, step.files[0]))
        if trajectory.manifest.kind == "reference":
            rows.append((stored[name].to(wide) - base.to(wide)).reshape(-1).double())
        else:
            from relex.trajectory.codec import CODECS, SCALE

            parts = {"": stored[name], SCALE: stored.get(name + SCALE)}
            out = torch.empty(base.numel())
            CODECS[trajectory.manifest.codec].decode(parts, 0, base.numel(), out)
            rows.append(out.double())
    return torch.stack(rows).numpy()


def into(rows: np.ndarray):
    """What writes blocks of sums to rows [K, d]."""

    def emit(start, values):
        rows[:, start : start + values.shape[1]] = values

    return emit


def from_storage(monkeypatch):
    """As if the page cache held nothing, so that rows are kept between the passes."""
    monkeypatch.setattr(opened_rows, "in_page_cache", lambda *_: False)


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", ARITHMETICS)
def test_gram_and_sums_equal_float64(windows, kind, make, kept, monkeypatch):
    if kept:
        from_storage(monkeypatch)
    trajectory, base = windows[kind]
    factors = np.random.default_rng(0).normal(size=(3, len(STEPS)))
    with Window(Trajectory(trajectory), base) as window, Stream(window, LARGE, make(), targets=3) as stream:
        for name in window.names:
            wanted = reference(window, name)
            origin = window.base.tensor(name).reshape(-1).double().numpy()
            got = np.empty((3, wanted.shape[1]), np.float32)
            with stream.opened(name, keep=kept) as opened:
                assert (opened.kept is not None) == kept
                gram = stream.gram(opened)
                stream.sums(opened, Directed.plain(factors), into(got))
                np.testing.assert_array_equal(deltas(opened, (0, wanted.shape[1])), wanted.astype(np.float32))
            scale = np.sqrt(np.outer(np.diag(wanted @ wanted.T), np.diag(wanted @ wanted.T)))
            assert (np.abs(gram - wanted @ wanted.T) <= 1e-12 * scale).all()
            np.testing.assert_allclose(got, origin + factors @ wanted, rtol=1e-6, atol=1e-9)
            # theta_0 is taken off the sum, in float64, not off every row, in float32.
            wanted = reference(window, name, single=False)
            stream.sums_of(name, Directed.plain(factors), into(got), onto_base=False)
            np.testing.assert_allclose(got, factors @ wanted, rtol=1e-6, atol=1e-12)
            got = got[:1]  # one sum alone takes another way
            stream.sums_of(name, Directed.plain(factors[:1]), into(got))
            np.testing.assert_allclose(got, origin + factors[:1] @ wanted, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", ["full bfloat16", "deltas int8"])
def test_budget_and_threads_do_not_change_a_bit(windows, kind, monkeypatch):
    from_storage(monkeypatch)
    trajectory, base = windows[kind]
    found = []
    with Window(Trajectory(trajectory), base) as window:
        least = Processor().bytes_needed(len(STEPS), Processor().widest(len(STEPS)), 2)
        for budget, threads, keep in ((LARGE, 1, True), (LARGE, 4, True), (least, 0, True), (LARGE, 3, False)):
            factors = np.random.default_rng(1).normal(size=(2, len(STEPS)))
            with Stream(window, budget, Processor(), targets=2, threads=threads) as stream:
                parts = []
                for name in window.names:
                    with stream.opened(name, keep=keep) as opened:
                        parts.append(stream.gram(opened).tobytes())
                        pieces = {}
                        stream.sums(
                            opened,
                            Directed.plain(factors),
                            lambda start, values, p=pieces: p.update({start: values.copy()}),
                        )
                        parts += [pieces[start].tobytes() for start in sorted(pieces)]
                found.append(b"".join(parts))
    assert len(set(found)) == 1


def check_every_rank(gram: np.ndarray, wanted: np.ndarray, rtol: float) -> None:
    """G against the float64 singular value decomposition of the deltas [T, d]: sizes, and a forecast at every rank."""
    left, sizes, _ = np.linalg.svd(wanted, full_matrices=False)
    energies, modes = np.linalg.eigh(gram)
    np.testing.assert_allclose(np.sqrt(energies[::-1]), sizes, rtol=rtol)
    h = np.linspace(-1, 2, len(gram))
    for rank in range(1, len(gram) + 1):
        mine, exact = modes[:, ::-1][:, :rank], left[:, :rank]
        found, right = (mine @ (mine.T @ h)) @ wanted, (exact @ (exact.T @ h)) @ wanted
        assert np.linalg.norm(found - right) / np.linalg.norm(right) < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_a_sum_does_not_depend_on_the_others(windows, kind):
    trajectory, base = windows[kind]
    factors = np.random.default_rng(2).normal(size=(3, len(STEPS)))
    with Window(Trajectory(trajectory), base) as window, Stream(window, LARGE, Processor(), targets=3) as stream:
        for name in window.names:
            together, alone = np.empty((2, 3, window.numel(name)), np.float32)
            stream.sums_of(name, Directed.plain(factors), into(together))
            for k in range(3):
                stream.sums_of(name, Directed.plain(factors[[k]]), into(alone[k : k + 1]))
            np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", ARITHMETICS)
def test_a_sum_along_a_shared_direction_is_the_same_alone(windows, kind, make):
    trajectory, base = windows[kind]
    row, amounts = np.random.default_rng(3).normal(size=(1, len(STEPS))), [0.5, -2.0, 7.3]
    whole = Directed.along(amounts, np.repeat(row, 3, axis=0))
    with Window(Trajectory(trajectory), base) as window, Stream(window, LARGE, make(), targets=3) as stream:
        for name in window.names:
            together, alone = np.empty((2, 3, window.numel(name)), np.float32)
            stream.sums_of(name, whole, into(together))
            for k, amount in enumerate(amounts):
                stream.sums_of(name, Directed.along([amount], row), into(alone[k : k + 1]))
            np.testing.assert_array_equal(together, alone)
            wanted = reference(window, name)
            origin = window.base.tensor(name).reshape(-1).double().numpy()
            np.testing.assert_allclose(together, origin + whole.dense @ wanted, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", ARITHMETICS)
def test_a_sum_over_a_part_of_the_window_is_the_same_beside_one_over_the_whole(windows, kind, make):
    trajectory, base = windows[kind]
    # One that needs all steps, one that does not need the first, and so on. Along the window's line they cancel, so
    # that another order of adding shows in what is left.
    parts = np.triu(np.random.default_rng(4).normal(size=(len(STEPS), len(STEPS))))[:-1]
    parts[:, -1] -= parts @ STEPS / STEPS[-1]
    with Window(Trajectory(trajectory), base) as window, Stream(window, LARGE, make(), targets=9) as stream:
        for name in window.names:
            together, alone = np.empty((2, len(parts), window.numel(name)), np.float32)
            stream.sums_of(name, Directed.plain(parts), into(together), onto_base=False)
            for k in range(len(parts)):
                stream.sums_of(name, Directed.plain(parts[[k]]), into(alone[k : k + 1]), onto_base=False)
            np.testing.assert_array_equal(together, alone)


def test_a_large_tensor_in_float32_products_keeps_small_singular_values(tmp_path):
    # 200,000 values: above the size under which products are taken in float64.
    torch.manual_seed(0)
    model = tiny_llama(vocab_size=12_500)
    base = save(model, tmp_path / "base")
    steps = list(range(1, 13))
    trajectory = write_trajectory(tmp_path / "window", base, steps, line_with_noise(rate=1e-3, noise=1e-4))
    name = "model.embed_tokens.weight"
    with Window(Trajectory(trajectory), base) as window, Stream(window, LARGE, Processor(), targets=0) as stream:
        wanted = reference(window, name)
        with stream.opened(name) as opened:
            gram = stream.gram(opened)
    check_every_rank(gram, wanted, rtol=1e-6)


@pytest.mark.parametrize(
    ("rate", "noise"), [(1e-4, 5e-4), (1e-4, 1.2e-3), (3.0, 1.0)], ids=["few", "an eighth", "most"]
)
@pytest.mark.parametrize("count", [2, 9, 12])
def test_large_bfloat16_checkpoints_are_as_exact_as_float64(tmp_path, rate, noise, count):
    # 12,347 x 16 values: above the size of float64 products, and no multiple of a cache line. The further the
    # checkpoints move, the more columns have a difference that is no bfloat16 number.
    torch.manual_seed(0)
    model = tiny_llama(vocab_size=12_347)
    base = save(model, tmp_path / "base", dtype=torch.bfloat16)
    steps = list(range(1, count + 1))
    source = write_checkpoints(
        tmp_path / "full", model, steps, line_with_noise(rate=rate, noise=noise), dtype=torch.bfloat16
    )
    import_checkpoints(source, base, tmp_path / "window")
    name = "model.embed_tokens.weight"
    with (
        Window(Trajectory(tmp_path / "window"), base) as window,
        Stream(window, LARGE, Processor(), targets=1) as stream,
    ):
        wanted = reference(window, name)
        with stream.opened(name) as opened:
            gram = stream.gram(opened)
    check_every_rank(gram, wanted, rtol=1e-5)


def test_a_large_bfloat16_tensor_of_an_odd_size_is_as_exact(tmp_path):
    # Columns are decoded two at a time.
    steps, size = list(range(1, 13)), 400_003
    generator = torch.Generator().manual_seed(0)
    origin, direction = torch.randn(2, size, generator=generator)
    base = save(tiny_llama(), tmp_path / "base", dtype=torch.bfloat16)
    for step in [0, *steps]:
        moved = 0.02 * origin + 1e-4 * step * direction + 5e-4 * min(step, 1) * torch.randn(size, generator=generator)
        folder = tmp_path / "full" / f"checkpoint-{step}" if step else base
        if step:
            shutil.copytree(base, folder)
        held = load_file(base / "model.safetensors")
        save_file({**held, "odd.weight": moved.bfloat16()}, folder / "model.safetensors", metadata={"format": "pt"})
    import_checkpoints(tmp_path / "full", base, tmp_path / "window")
    factors = np.random.default_rng(0).normal(size=(1, len(steps)))
    with (
        Window(Trajectory(tmp_path / "window"), base) as window,
        Stream(window, LARGE, Processor(), targets=1) as stream,
    ):
        wanted, got = reference(window, "odd.weight"), np.empty((1, size), np.float32)
        with stream.opened("odd.weight") as opened:
            gram = stream.gram(opened)
            stream.sums(opened, Directed.plain(factors), into(got), onto_base=False)
    check_every_rank(gram, wanted, rtol=1e-5)
    np.testing.assert_allclose(got, factors @ wanted, rtol=1e-6, atol=1e-12)


def test_a_new_step_costs_one_row(windows):
    trajectory, base = windows["full bfloat16"]
    with Window(Trajectory(trajectory), base) as window, Stream(window, LARGE, Processor(), targets=0) as stream:
        for name in window.names[:4]:
            with stream.opened(name) as opened:
                whole = stream.gram(opened)
                known = whole.copy()
                known[5:], known[:, 5:] = 0, 0
                grown = stream.gram(opened, known, 5)
            np.testing.assert_array_equal(grown[:5, :5], whole[:5, :5])
            np.testing.assert_allclose(grown, whole, rtol=1e-9)


def test_a_budget_without_room_for_one_block_is_refused(windows):
    trajectory, base = windows["full float32"]
    with Window(Trajectory(trajectory), base) as window, pytest.raises(InputError, match="too little memory"):
        Stream(window, 1000, Processor(), targets=1)


@pytest.mark.parametrize("steps", [2, 20, 45, 50, 100, 400])
@pytest.mark.parametrize("targets", [0, 5, 10, 30])
def test_the_memory_of_the_default_night_holds_several_blocks_of_any_window_on_an_accelerator(steps, targets):
    accelerator = Accelerator(queues_of("cpu"))
    columns = accelerator.widest(steps)
    assert columns % kernels.CHUNK == 0
    assert 4 * accelerator.bytes_needed(steps, columns, targets) <= 1 << 30


@pytest.mark.parametrize("numel", [0, 1, 1023, 8192, 8193, 100_000, 1_048_576, 5_000_001])
def test_blocks_cover_a_tensor_once(numel):
    found = blocks_of(numel, Processor().widest(len(STEPS)))
    assert sum(stop - start for start, stop in found) == numel
    assert all(a[1] == b[0] for a, b in itertools.pairwise(found))
    assert all(stop - start <= Processor().widest(len(STEPS)) for start, stop in found)
    assert all(start % kernels.SCALE_BLOCK == 0 for start, _ in found)


@pytest.mark.parametrize("make", ARITHMETICS)
def test_nan_and_inf_are_counted_with_file_and_tensor(tmp_path, make):
    model = tiny_llama()
    base = save(model, tmp_path / "base")
    source = write_checkpoints(tmp_path / "full", model, [1, 2, 3], line_with_noise())
    path = source / "checkpoint-2" / "model.safetensors"
    weights = load_file(path)
    weights["model.norm.weight"][3:5] = torch.tensor([float("nan"), float("-inf")])
    save_file(weights, path, metadata={"format": "pt"})
    import_checkpoints(source, base, tmp_path / "window")
    with (
        Window(Trajectory(tmp_path / "window"), base) as window,
        Stream(window, LARGE, make(), targets=0) as stream,
        stream.opened("model.norm.weight") as opened,
        pytest.raises(InputError, match=r"checkpoint-2/model\.safetensors: model\.norm\.weight.*found 2 of 16"),
    ):
        stream.gram(opened)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("column", [5, 12_346 * 16 + 15], ids=["first", "last"])
def test_nan_and_inf_in_large_bfloat16_checkpoints_are_found(tmp_path, bad, column):
    model = tiny_llama(vocab_size=12_347)
    base = save(model, tmp_path / "base", dtype=torch.bfloat16)
    source = write_checkpoints(tmp_path / "full", model, [1, 2, 3], line_with_noise(), dtype=torch.bfloat16)
    path, name = source / "checkpoint-2" / "model.safetensors", "model.embed_tokens.weight"
    weights = load_file(path)
    weights[name].view(-1)[column] = bad
    save_file(weights, path, metadata={"format": "pt"})
    import_checkpoints(source, base, tmp_path / "window")
    with (
        Window(Trajectory(tmp_path / "window"), base) as window,
        Stream(window, LARGE, Processor(), targets=0) as stream,
        stream.opened(name) as opened,
        pytest.raises(InputError, match=r"checkpoint-2/model\.safetensors: model\.embed_tokens.*found 1 of 197552"),
    ):
        stream.gram(opened)


@pytest.mark.parametrize("make", ARITHMETICS)
def test_a_file_that_shrinks_while_it_is_read_is_named(tmp_path, make):
    model = tiny_llama()
    base = save(model, tmp_path / "base")
    trajectory = write_trajectory(tmp_path / "window", base, [1, 2, 3], line_with_noise())
    with Window(Trajectory(trajectory), base) as window, Stream(window, LARGE, make(), targets=0) as stream:
        path = trajectory / "steps" / "000002.safetensors"
        path.write_bytes(path.read_bytes()[:3000])
        with stream.opened(window.names[-2]) as opened, pytest.raises(CorruptArtifact, match="000002"):
            stream.gram(opened)
