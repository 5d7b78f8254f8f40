"""The forecast meter: while training runs, how straight the window so far is, and how well its earlier part forecasts
its latest step. Pure; from sketches (sketch.py), so its cost does not grow with the model nor its memory much with the
window: T sketches and one Gram matrix [T, T].

The whole model counts as one vector here, where `relex diagnose` fits every tensor by itself.
"""

from __future__ import annotations

import numpy as np
import torch

from relex.forecast.backtest import held_out
from relex.forecast.subspace import Array, explained_share, spectrum
from relex.forecast.weights import Forecast, r_squared
from relex.stages.train.sketch import Sketch

FITTED = 2 / 3  # share of the window so far that the backtest is fitted on
FEWEST = 4  # captured steps before the meter says anything


class Meter:
    """Collects sketches of the captured deltas; read() after every one of them."""

    def __init__(self, sketch: Sketch | None = None):
        self.sketch = sketch or Sketch()
        self.steps: list[int] = []
        self._rows: list[Array] = []
        self._gram: Array = np.zeros((0, 0))

    def add(self, step: int, sketched: torch.Tensor) -> None:
        """One more captured step, after the last one; sketched [m] float32 = sketch.of(its delta)."""
        row = sketched.double().numpy()
        grown = np.zeros((len(self.steps) + 1,) * 2)
        grown[:-1, :-1] = self._gram
        self._rows.append(row)
        grown[-1, :] = grown[:, -1] = [float(other @ row) for other in self._rows]
        self._gram = grown
        self.steps.append(step)

    @property
    def sketches(self) -> torch.Tensor:
        """What was added [T, m] float32: what another meter needs to go on."""
        rows = np.stack(self._rows) if self._rows else np.zeros((0, self.sketch.columns))
        return torch.from_numpy(rows).float()

    def read(self) -> dict[str, float]:
        """explained_share and r_squared of rank 1 in the window so far, and skill: a fit on its first two thirds
        forecasts its latest step, 1 is exact, 0 no better than staying. Empty before FEWEST moved steps."""
        moved = np.flatnonzero(np.diag(self._gram) > 0)
        if len(moved) < FEWEST:
            return {}
        gram = self._gram[np.ix_(moved, moved)]
        steps = [self.steps[at] for at in moved]
        found = spectrum(gram)
        fitted = max(2, int(FITTED * len(steps)))
        return {
            "explained_share": float(explained_share(found.sigma)[0]),
            "r_squared": r_squared(np.asarray(steps, dtype=np.float64), found.modes[:, 0]),
            "skill": float(held_out({"all": gram}, steps, fitted, Forecast()).skill()[-1]),
        }
