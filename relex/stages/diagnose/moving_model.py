"""One model moved through weight space in place: theta = theta_0 + sum_k a_k D_k, without writing checkpoints.

Every point asked for is a weighted sum of the observed deltas per tensor. The rows of weights of all points span few
directions (one for rank 1, two for any line that is anchored elsewhere), so a handful of sums D_k is formed once, in
one pass over the window, and each point costs one scaled addition per tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from relex.core.choices import Device
from relex.core.errors import InputError
from relex.forecast.directed import Directed
from relex.forecast.subspace import Array
from relex.window.device import arithmetic_for, device_name
from relex.window.opened import Singles
from relex.window.rows import Window
from relex.window.stream import Stream

PointsOf = Callable[[str], Array]  # tensor name -> weights [P, T] of every point

_NEGLIGIBLE = 1e-9  # of the largest singular value of the weights


class MovingModel:
    """A float32 causal language model that stands at one of P points. Use `at(point)`, then the model."""

    def __init__(self, window: Window, points_of: PointsOf, *, device: Device, budget: int):
        """Load the base and form the directions. InputError when the architecture stores its weights otherwise than
        it names them, so that they cannot be moved in place."""
        self._window, self._device = window, device_name(device)
        self.model: PreTrainedModel = load_model(window.base.folder).to(self._device)
        state = self.model.state_dict()
        self._moves: list[tuple[torch.Tensor, str, torch.Tensor, Array]] = []
        with Stream(window, budget, arithmetic_for(device), targets=3) as stream, torch.no_grad():
            for name in window.names:
                if name not in state or state[name].shape != window.base.specs[name].shape:
                    raise InputError(
                        "this architecture cannot be moved in place",
                        where=f"{window.base.folder}: {name}",
                        todo="diagnose without --completions",
                    )
                amounts, directions = span(points_of(name))
                held = torch.empty(len(directions), window.numel(name))
                if len(directions):
                    stream.sums_of(name, Directed.plain(directions), _into(held), onto_base=False)
                self._moves.append((state[name], name, held.to(self._device), amounts))

    def at(self, point: int) -> PreTrainedModel:
        """The model at one point; the same object every time."""
        with torch.no_grad():
            for weight, name, directions, amounts in self._moves:
                flat = weight.view(-1)
                flat.copy_(self._window.base.tensor(name).view(-1))
                for amount, direction in zip(amounts[point], directions, strict=True):
                    flat.add_(direction, alpha=float(amount))
        return self.model


def span(points: Array) -> tuple[Array, Array]:
    """amounts [P, K] and directions [K, T] with amounts @ directions = points [P, T], K as small as possible."""
    left, size, right = np.linalg.svd(points, full_matrices=False)
    kept = size > _NEGLIGIBLE * max(size[0], np.finfo(float).tiny)
    return left[:, kept] * size[kept], right[kept]


def load_model(folder: Path) -> PreTrainedModel:
    """The causal language model of a checkpoint folder, float32, in evaluation mode."""
    try:
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    except (OSError, ValueError, KeyError) as error:
        found = str(error).splitlines()[0][:200]
        raise InputError(
            "transformers cannot load this as a causal language model", where=folder, found=found
        ) from error


def _into(held: torch.Tensor) -> Callable[[int, Singles], None]:
    def emit(start: int, values: Singles) -> None:
        held[:, start : start + values.shape[1]] = torch.from_numpy(values)

    return emit
