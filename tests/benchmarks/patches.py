"""How small a model is as a lossless patch to the one that it came from: what differs bit by bit, compressed.

    python -m tests.benchmarks.patches FROM MODEL [MODEL ...]    # checkpoint folders: base observed champion
    python -m tests.benchmarks.patches                           # synthetic weights of N(0, 0.02), every one moved

Unchanged: the share of values that are bit for bit those of FROM. Patch: the exclusive or of both, its bytes by place
and deflated at level 1, as a share of the model's own bytes. Both in bfloat16, to which the values are rounded, and in
float32 where the checkpoint is.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from relex.checkpoints.tensors import CheckpointReader

_BITS = {torch.bfloat16: torch.int16, torch.float32: torch.int32}
_MOVES = (1e-6, 1e-5, 1e-4, 1e-3)


def patched(pairs: Iterator[tuple[torch.Tensor, torch.Tensor]], dtype: torch.dtype) -> tuple[float, float]:
    """(share of values unchanged, bytes of the patch over those of the model), of tensors before and after."""
    values = same = size = whole = 0
    for before, after in pairs:
        differs = (before.to(dtype).view(_BITS[dtype]) ^ after.to(dtype).view(_BITS[dtype])).numpy().ravel()
        values, same = values + differs.size, same + int((differs == 0).sum())
        # Bytes of one place side by side: the high ones are nearly all zero.
        size += len(zlib.compress(np.ascontiguousarray(differs[:, None].view(np.uint8).T).tobytes(), 1))
        whole += differs.nbytes
    return same / values, size / whole


def read(before: Path, after: Path) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Every tensor of two checkpoint folders."""
    with CheckpointReader(before) as first, CheckpointReader(after) as second:
        for name in first.names:
            yield first.tensor(name), second.tensor(name)


def synthetic(move: float) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Four million weights, each moved by `move` up or down."""
    generator = torch.Generator().manual_seed(0)
    weights = 0.02 * torch.randn(4_000_000, generator=generator)
    yield weights, weights + move * torch.randn(len(weights), generator=generator).sign()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, metavar="FROM MODEL", help="checkpoint folders, FROM first")
    folders = parser.parse_args(arguments).folders
    if len(folders) == 1:
        parser.error("FROM alone: name a MODEL that came from it, too")
    print("| model | bfloat16: unchanged | patch | float32: unchanged | patch |\n|---|---|---|---|---|")
    for model in folders[1:]:
        wide = next(iter(read(folders[0], model)))[0].dtype == torch.float32
        rows = [patched(read(folders[0], model), dtype) for dtype in (torch.bfloat16, torch.float32)[: 1 + wide]]
        _show(str(model), rows)
    for move in () if folders else _MOVES:
        _show(f"moved by {move:g}", [patched(synthetic(move), dtype) for dtype in _BITS])


def _show(name: str, rows: Sequence[tuple[float, float]]) -> None:
    cells = [f"{value:.3f}" for row in rows for value in row] + ["-", "-"] * (2 - len(rows))
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
