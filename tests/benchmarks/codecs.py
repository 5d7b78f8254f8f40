"""What each codec costs and keeps: bytes, error of the predicted tensor, seconds; on any trajectory stored as float32.

    python -m tests.benchmarks.codecs TRAJECTORY BASE
    python -m tests.benchmarks.codecs              (synthetic windows: a line, a line in noise, a random walk)

Error: |predicted - predicted from float32| / |predicted from float32| over the deltas of all tensors together, rank-1
linear; the worst single tensor in brackets. Bytes are relative to a bfloat16 checkpoint.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from relex.checkpoints.tensors import TensorFile
from relex.forecast.weights import Forecast, weights
from relex.trajectory.codec import CODECS
from relex.trajectory.reader import Trajectory

_FACTORS = (1.5, 4.0, 10.0)  # horizons, as multiples of the window


def synthetic(kind: str, steps: np.ndarray) -> Iterator[tuple[str, torch.Tensor]]:
    """(name, deltas [T, d]) of a few tensors with entries of very different size."""
    for at, count in enumerate((64, 4096, 200_000)):
        generator = torch.Generator().manual_seed(at)
        size = 10.0 ** (-6 + at) * torch.exp(torch.randn(count, generator=generator))
        direction = size * torch.randn(count, generator=generator)
        noise = size * torch.randn(len(steps), count, generator=generator)
        time_ = torch.from_numpy(steps).float()[:, None]
        found = {
            "line": time_ * direction,
            "line in noise": time_ * direction / 10 + noise,
            "random walk": noise.cumsum(0),
        }
        yield f"tensor {count}", found[kind]


def real(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """(name, deltas [T, d]) of a trajectory of float32 deltas."""
    trajectory = Trajectory(folder)
    files = [TensorFile(trajectory.path(step, step.files[0])) for step in trajectory.manifest.steps]
    for name in trajectory.manifest.tensors:
        yield name, torch.stack([file.tensor(name).reshape(-1) for file in files])


def measure(label: str, tensors: list[tuple[str, torch.Tensor]], steps: np.ndarray) -> None:
    """Print one row per codec."""
    values = sum(deltas.shape[1] for _, deltas in tensors)
    for name, codec in CODECS.items():
        size, seconds, errors, total = 0, 0.0, [], np.zeros((len(_FACTORS), 2))
        for _, deltas in tensors:
            start = time.perf_counter()
            stored = [codec.encode(row) for row in deltas]
            seconds += time.perf_counter() - start
            size += sum(part.numel() * part.element_size() for part in stored[-1].values())
            kept = torch.empty_like(deltas)
            for row, parts in zip(kept, stored, strict=True):
                codec.decode(parts, 0, len(row), row)
            targets = [round(steps[-1] * factor) for factor in _FACTORS]
            exact, coarse = deltas.double().numpy(), kept.double().numpy()
            wanted = weights(exact @ exact.T, steps, targets, Forecast()) @ exact
            found = weights(coarse @ coarse.T, steps, targets, Forecast()) @ coarse
            gap, length = np.linalg.norm(found - wanted, axis=1), np.linalg.norm(wanted, axis=1)
            errors.append(np.max(gap / np.maximum(length, 1e-300)))
            total += np.stack([gap**2, length**2], axis=1)
        overall = np.sqrt(total[:, 0] / total[:, 1]).max()
        rate = values * len(steps) / seconds / 1e6
        print(f"| {label} | {name} | {size / (2 * values):.3f} | {overall:.1e} ({max(errors):.1e}) | {rate:.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trajectory", nargs="?", type=Path, help="a folder of this project's, measured first")
    folder = parser.parse_args().trajectory
    print("| window | codec | bytes / bfloat16 | error of the predicted delta | encoded, M values/s |")
    print("|---|---|---|---|---|")
    if folder is not None:
        measure("real", list(real(folder)), np.array(Trajectory(folder).steps, float))
    steps = np.arange(1.0, 46.0)
    for kind in ("line", "line in noise", "random walk"):
        measure(kind, list(synthetic(kind, steps)), steps)


if __name__ == "__main__":
    main()
