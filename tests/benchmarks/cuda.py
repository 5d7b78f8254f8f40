"""How fast a window passes through the accelerator, beside the bus itself and beside plain PyTorch, in one run.

    python -m tests.benchmarks.cuda                                    on a CUDA machine
    python -m tests.benchmarks.cuda --device cpu --shape tiny          the same lines without one

Bytes of the window per second, as a share of the measured host-to-device bandwidth (page-locked memory, pieces of 64
MiB; with --device cpu a copy in memory): of the Gram pass, and of the sums pass for one target (aim: 0.80). Both read
from the page cache. Plain PyTorch has the checkpoints in its own memory: it takes a tensor's over, subtracts the base
in float32, and makes one matrix product for each pass. Each is measured after a pass that warms up. Says so and ends
where there is no CUDA device and none other was asked for.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from relex.forecast.directed import Directed
from relex.trajectory.reader import Trajectory
from relex.window.accelerator import Accelerator
from relex.window.importing import import_checkpoints
from relex.window.queues import queues_of
from relex.window.rows import Window
from relex.window.stream import Stream
from tests.benchmarks.windows import SHAPES, make_base, make_checkpoints

_PIECE, _PIECES = 64 << 20, 50
_BUDGET = 16 << 30
_AIM = 0.8


def bus_bytes_per_second(device: str) -> float:
    """Host-to-device bandwidth from page-locked memory; of a copy in memory for `cpu`."""
    held = torch.empty(_PIECE, dtype=torch.uint8, pin_memory=device == "cuda")
    there = torch.empty_like(held, device=device)
    there.copy_(held)
    _wait(device)
    start = time.perf_counter()
    for _ in range(_PIECES):
        there.copy_(held, non_blocking=True)
    _wait(device)
    return _PIECES * _PIECE / (time.perf_counter() - start)


def through_the_stream(folder: Path, base: Path, device: str, steps: int) -> Counter[str]:
    """Seconds by pass, of all tensors."""
    seconds = Counter[str]()
    weights = Directed.plain(np.ones((1, steps)))
    with (
        Window(Trajectory(folder), base) as window,
        Stream(window, _BUDGET, Accelerator(queues_of(device)), targets=1) as stream,
    ):
        for name in window.names:
            with stream.opened(name) as opened:
                _timed(seconds, "Gram", lambda: stream.gram(opened))
                _timed(seconds, "sums", lambda: stream.sums(opened, weights, lambda start, values: None))
    return seconds


def by_plain_torch(checkpoints: list[dict[str, torch.Tensor]], base: dict[str, torch.Tensor], device: str) -> float:
    """Seconds of both passes in one, with the deltas of a tensor on the device."""
    weights = torch.ones(1, len(checkpoints), device=device)
    begin = time.perf_counter()
    for name, origin in base.items():
        there = origin.to(device).float().flatten()
        moved = torch.stack([values[name].to(device).float().flatten() - there for values in checkpoints])
        (moved @ moved.T).cpu()
        (there + (weights @ moved)[0]).bfloat16().cpu()
    _wait(device)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.cuda",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="135M")
    parser.add_argument("--steps", type=int, default=40, help="checkpoints of the window (default: 40)")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        print("no CUDA device here")
        return
    bus = bus_bytes_per_second(given.device)
    print(f"bus {bus / 1e9:.1f} GB/s\n| pass | GB/s | share of the bus | aim |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="relex-bench-") as work:
        base = make_base(Path(work) / "base", given.shape)
        source = make_checkpoints(Path(work) / "source", base, range(1, given.steps + 1))
        import_checkpoints(source, base, Path(work) / "window")
        files = sorted(source.rglob("*.safetensors"))
        total = sum(path.stat().st_size for path in files)
        for _ in range(2):  # the first one warms up: library handles, compiled kernels, the page cache
            seconds = through_the_stream(Path(work) / "window", base, given.device, given.steps)
        held, origin = [load_file(path) for path in files], load_file(base / "model.safetensors")
        for _ in range(2):
            plain = by_plain_torch(held, origin, given.device)
    for label, aim in (("Gram", "-"), ("sums", f"{_AIM:.2f}")):
        print(f"| {label} | {total / seconds[label] / 1e9:.2f} | {total / seconds[label] / bus:.2f} | {aim} |")
    print(f"\nboth passes: plain PyTorch takes {plain / seconds.total():.2f} times their seconds")


def _timed(seconds: Counter[str], label: str, work: Callable[[], object]) -> None:
    begin = time.perf_counter()
    work()
    seconds[label] += time.perf_counter() - begin


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
