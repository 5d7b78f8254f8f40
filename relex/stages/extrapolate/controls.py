"""The controls beside the candidates: the same horizons, other directions (forecast/controls.py, signs.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from relex.forecast.controls import FIRST, MEAN, amplified, lengths
from relex.forecast.directed import Directed
from relex.forecast.subspace import Array
from relex.stages.extrapolate.params import Control
from relex.window.request import Request

_UPDATES = {"first-update": FIRST, "mean-update": MEAN}


@dataclass(frozen=True)
class Controls:
    """Those of one request: for each kind, one model per target, in this order."""

    kinds: tuple[Control, ...]
    request: Request

    def names(self) -> dict[str, int]:
        """Folder -> target."""
        return {f"step_{target:06d}-{kind}": target for kind in self.kinds for target in self.request.targets}

    def directed(self, name: str, gram: Array, steps: Sequence[int]) -> Directed:
        """w [C K, T] of one tensor; zero for random directions, which no observed step lies along."""
        far = self._far(name, gram, steps)
        nothing = Directed.plain(np.zeros((len(far), len(gram))))
        return Directed.joined(
            [amplified(gram, _UPDATES[kind], far) if kind in _UPDATES else nothing for kind in self.kinds]
        )

    def signs(self, name: str, gram: Array, steps: Sequence[int], numel: int) -> Array:
        """How much of a random direction of signs [numel] comes to each sum: [C K], zero but for `random`."""
        each = self._far(name, gram, steps) / np.sqrt(max(numel, 1))
        return np.concatenate([each if kind == "random" else np.zeros(len(each)) for kind in self.kinds])

    def _far(self, name: str, gram: Array, steps: Sequence[int]) -> Array:
        return lengths(gram, self.request.weights(name, gram, steps))
