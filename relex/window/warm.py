"""The loops of kernels/ compiled before a stage needs them: python -m relex.window.warm

That takes 12 s once in a checkout; then they come from Numba's cache.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from relex.forecast.directed import Directed
from relex.trajectory.reader import Trajectory
from relex.trajectory.writer import TrajectoryWriter
from relex.window.arithmetic import EXACT_BELOW
from relex.window.device import arithmetic_for
from relex.window.gram import grams
from relex.window.rows import Window
from relex.window.stream import Stream

_SIZES = {"exact": 8, "large": EXACT_BELOW}  # elements: tensors of either kind take code of their own
_STEPS = 2
_BUDGET = 64 << 20


def compile_all() -> None:
    """Take one small window's Gram matrices and a sum of its deltas."""
    with tempfile.TemporaryDirectory() as place:
        base, folder = Path(place, "base"), Path(place, "trajectory")
        base.mkdir()
        save_file({name: torch.zeros(size) for name, size in _SIZES.items()}, base / "model.safetensors")
        writer = TrajectoryWriter(folder, base=base, codec="float16", identity={"made_by": __name__})
        for step in range(1, 1 + _STEPS):
            writer.append(step, {name: torch.full((size,), float(step)) for name, size in _SIZES.items()})
        with Window(Trajectory(folder), base) as window:
            grams(window, device="cpu", budget=_BUDGET)
            with Stream(window, _BUDGET, arithmetic_for("cpu"), targets=1) as stream:
                for name in _SIZES:
                    stream.sums_of(name, Directed.plain(np.ones((1, _STEPS))), lambda _at, _sums: None, onto_base=True)


if __name__ == "__main__":
    compile_all()
