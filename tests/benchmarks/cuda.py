"""On a CUDA machine: how fast a window in memory passes through the accelerator, beside the bus itself.

    python -m tests.benchmarks.cuda [--steps 40]

Bytes of the window per second of the Gram pass and of the sums pass, as a share of the measured host-to-device
bandwidth (page-locked memory, pieces of 64 MiB). The bound is one half. Says so and ends where there is no device.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from relex.forecast.directed import Directed
from relex.trajectory.reader import Trajectory
from relex.window.accelerator import Accelerator
from relex.window.importing import import_checkpoints
from relex.window.queues import queues_of
from relex.window.rows import Window
from relex.window.stream import Stream
from tests.benchmarks.windows import make_base, make_checkpoints


def bus_bytes_per_second() -> float:
    """Host-to-device bandwidth from page-locked memory."""
    held = torch.empty(64 << 20, dtype=torch.uint8, pin_memory=True)
    there = torch.empty_like(held, device="cuda")
    there.copy_(held)
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(50):
        there.copy_(held, non_blocking=True)
    torch.cuda.synchronize()
    return 50 * len(held) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40)
    given = parser.parse_args()
    if not torch.cuda.is_available():
        print("no CUDA device here")
        return
    bus = bus_bytes_per_second()
    print(f"bus {bus / 1e9:.1f} GB/s\n| pass | GB/s | share of the bus | bound |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="relex-bench-") as work:
        base = make_base(Path(work) / "base", "135M")
        source = make_checkpoints(Path(work) / "source", base, range(1, given.steps + 1))
        import_checkpoints(source, base, Path(work) / "window")
        total = sum(path.stat().st_size for path in source.rglob("*.safetensors"))
        weights = Directed.plain(np.ones((1, given.steps)))
        with (
            Window(Trajectory(Path(work) / "window"), base) as window,
            Stream(window, 16 << 30, Accelerator(queues_of("cuda")), targets=1) as stream,
        ):
            for label in ("Gram", "Gram", "sums"):  # the first one warms up: library handles, the page cache
                start = time.perf_counter()
                for name in window.names:
                    with stream.opened(name) as opened:
                        if label == "Gram":
                            stream.gram(opened)
                        else:
                            stream.sums(opened, weights, lambda start, values: None)
                rate = total / (time.perf_counter() - start)
                print(f"| {label} | {rate / 1e9:.1f} | {rate / bus:.2f} | 0.50 |", flush=True)


if __name__ == "__main__":
    main()
