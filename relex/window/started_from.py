"""Whether imported checkpoints can have started from the base that they are given: by their pace, or by their word."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import torch

from relex.checkpoints.header import FLOATING
from relex.checkpoints.tensors import CheckpointReader
from relex.forecast.first_move import far_from_base
from relex.window.adapter_config import CONFIG, Lora

_LOOKED_AT = 4  # of the first checkpoints: three moves say enough of the pace
_PIECE = 1 << 22  # values at a time


def far(found: Sequence[tuple[int, Path]], origin: CheckpointReader) -> str | None:
    """A warning where the first of these checkpoints (step, folder) lies too far from the base; None where it does not.

    One read of the base and of the first few checkpoints, a piece of a tensor at a time.
    """
    first = found[:_LOOKED_AT]
    squared = [0.0] * len(first)
    readers = [origin]
    try:
        for _, folder in first:
            readers.append(CheckpointReader(folder))
        for name in origin.names:
            if origin.specs[name].dtype in FLOATING and all(name in reader.specs for reader in readers):
                for at, (before, after) in enumerate(itertools.pairwise(readers)):
                    squared[at] += _squared(before.tensor(name), after.tensor(name))
    finally:
        for reader in readers[1:]:
            reader.close()
    lengths = [value**0.5 for value in squared]
    return far_from_base(lengths[0], lengths[1:], [step for step, _ in first], origin.folder)


def other_base(adapter: Path, base: Path) -> str | None:
    """A note where an adapter names another base than the one that is used; None where they can be the same.

    Names are held against each other, for the base may have moved: a folder's own name, or a hub's name of it.
    """
    named = Lora.read(adapter).base
    if not named or (Path(named).is_dir() and Path(named).resolve() == Path(base).resolve()):
        return None
    used = Path(base).resolve()
    name = Path(named.rstrip("/")).name.lower()
    # The hub's cache keeps OWNER/NAME in models--OWNER--NAME/snapshots/REVISION.
    parts = {
        used.name.lower(),
        *(part.lower().rpartition("--")[2] for part in used.parts if part.startswith("models--")),
    }
    if name in parts and not Path(named).is_dir():
        return None
    return f"note: {adapter / CONFIG} names the base {named!r}; --base {base} is used: is it the same model?"


def _squared(before: torch.Tensor, after: torch.Tensor) -> float:
    """Squared length of a tensor's move; float64 sums of float32 differences."""
    pairs = zip(before.reshape(-1).split(_PIECE), after.reshape(-1).split(_PIECE), strict=True)
    return sum(float((one.float() - other.float()).double().square().sum()) for one, other in pairs)
