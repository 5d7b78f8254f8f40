"""One model moved through weight space in place: theta = theta_0 + sum_k a_k D_k, without writing checkpoints.

Every point asked for is a weighted sum of the observed deltas per tensor. The rows of weights of all points span few
directions (one for rank 1, two for any line that is anchored elsewhere), so a handful of sums D_k is formed once, in
one pass over the window, and each point costs one scaled addition per tensor. The directions of a large model do not
fit beside it: those that do not are formed again for every point, block by block, with the same arithmetic.
"""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from relex.core.choices import Device
from relex.core.errors import InputError
from relex.core.sizes import FLOAT32_BYTES
from relex.forecast.directed import Directed
from relex.forecast.subspace import Array
from relex.window.arithmetic import Emit
from relex.window.device import arithmetic_for, device_name
from relex.window.opened import Singles
from relex.window.rows import Window
from relex.window.stream import Stream

PointsOf = Callable[[str], Array]  # tensor name -> weights [P, T] of every point

_NEGLIGIBLE = 1e-9  # of the largest singular value of the weights
_FORWARD = 8 << 30  # bytes of a device that are left for logits, activations and the allocator
_PROCESSOR = 0.5  # of the memory that is available


class _Move(NamedTuple):
    """How one tensor moves. amounts [P, K] along directions [K, T]; held [K, numel] float32, the sums along them, or
    None where they are formed for each point."""

    name: str
    weight: torch.Tensor
    amounts: Array
    directions: Array
    held: torch.Tensor | None

    @property
    def way(self) -> Array:
        """From point 0 to point 1 [K]."""
        return self.amounts[1] - self.amounts[0]


class MovingModel:
    """A float32 causal language model that stands at one of P points. Use `at(point)`, then the model; or `between` the
    first two, tensor by tensor."""

    def __init__(self, window: Window, points_of: PointsOf, *, device: Device, budget: int, room: int | None = None):
        """Load the base and form the directions. budget: of the passes over the window. room: bytes of directions to
        hold on the device; None: what it has left. Points are the same, to the bit, whatever is held.

        InputError when the architecture stores its weights otherwise than it names them, so that they cannot be moved
        in place.
        """
        self._window, self._device, self._budget = window, device, budget
        self._place = torch.device(device_name(device))
        if self._place.type == "cuda":  # what an earlier model leaves: modules refer to each other in circles
            gc.collect()
            torch.cuda.empty_cache()
        self.model: PreTrainedModel = load_model(window.base.folder).to(self._place)
        left = room_for_directions(self._place) if room is None else room
        state = self.model.state_dict()
        self._moves: list[_Move] = []
        with self._stream() as stream, torch.no_grad():
            for name in window.names:
                if name not in state or state[name].shape != window.base.specs[name].shape:
                    raise InputError(
                        "this architecture cannot be moved in place",
                        where=f"{window.base.folder}: {name}",
                        todo="diagnose without --completions",
                    )
                amounts, directions = span(points_of(name))
                held, size = None, len(directions) * window.numel(name) * FLOAT32_BYTES
                if size <= left:
                    left -= size
                    held = torch.empty(len(directions), window.numel(name), device=self._place)
                    if len(directions):
                        stream.sums_of(name, Directed.plain(directions), _into(held), onto_base=False)
                self._moves.append(_Move(name, state[name], amounts, directions, held))

    @property
    def held_bytes(self) -> int:
        """Of the directions that are held."""
        return sum(move.held.nbytes for move in self._moves if move.held is not None)

    def at(self, point: int) -> PreTrainedModel:
        """The model at one point; the same object every time."""
        return self._placed({move.name: move.amounts[point] for move in self._moves})

    def between(self, sizes: Mapping[str, float]) -> PreTrainedModel:
        """The model as far from point 0 as `sizes` says of each tensor, in units of its way to point 1."""
        return self._placed({move.name: move.amounts[0] + sizes[move.name] * move.way for move in self._moves})

    @contextlib.contextmanager
    def derivatives(self) -> Iterator[dict[str, float]]:
        """By tensor, what a backward pass in this context says of its size in `between`; passes add up. A gradient is
        let go of as soon as it is known, unless the tensor's directions are not held: then after the pass."""
        found = {move.name: 0.0 for move in self._moves}
        parameters = dict(self.model.named_parameters(remove_duplicate=False))
        self.model.requires_grad_(False)
        hooks = []
        for move in self._moves:
            parameter = parameters[move.name].requires_grad_(True)
            if move.held is not None:
                hooks.append(parameter.register_post_accumulate_grad_hook(partial(_took, move, found)))
        try:
            yield found
            unheld = [move for move in self._moves if move.held is None and parameters[move.name].grad is not None]
            if unheld:
                with self._stream() as stream:
                    for move in unheld:
                        parts: dict[int, float] = {}  # added up in one order, whichever thread comes first
                        across = _across(parameters[move.name], move.way, parts)
                        stream.sums_of(move.name, Directed.plain(move.directions), across, onto_base=False)
                        found[move.name] += sum(parts[start] for start in sorted(parts))
        finally:
            for hook in hooks:
                hook.remove()
            for parameter in self.model.parameters():
                parameter.grad = None
            self.model.requires_grad_(False)

    def _placed(self, amounts: Mapping[str, Array]) -> PreTrainedModel:
        with torch.no_grad():
            for move in self._moves:
                flat = move.weight.view(-1)
                flat.copy_(self._window.base.tensor(move.name).view(-1))
                if move.held is not None:
                    _go(flat, amounts[move.name], move.held)
            formed = [move for move in self._moves if move.held is None]
            if formed:
                with self._stream() as stream:
                    for move in formed:
                        along = _along(move.weight.view(-1), amounts[move.name])
                        stream.sums_of(move.name, Directed.plain(move.directions), along, onto_base=False)
        return self.model

    def _stream(self) -> Stream:
        return Stream(self._window, self._budget, arithmetic_for(self._device), targets=3)


def room_for_directions(place: torch.device) -> int:
    """Bytes that a device with the model on it has for directions."""
    if place.type == "cuda":
        return max(0, torch.cuda.mem_get_info(place)[0] - _FORWARD)
    return int(psutil.virtual_memory().available * _PROCESSOR)


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


def _go(flat: torch.Tensor, amounts: Array, sums: torch.Tensor) -> None:
    """flat [N] += amounts [K] @ sums [K, N], one after another."""
    for amount, along in zip(amounts, sums, strict=True):
        flat.add_(along, alpha=float(amount))


def _into(held: torch.Tensor) -> Emit:
    def emit(start: int, values: Singles) -> None:
        held[:, start : start + values.shape[1]] = torch.from_numpy(values)

    return emit


def _along(flat: torch.Tensor, amounts: Array) -> Emit:
    lock = threading.Lock()  # of several blocks one is on the device at a time

    def emit(start: int, values: Singles) -> None:
        with lock, torch.no_grad():
            _go(flat[start : start + values.shape[1]], amounts, torch.from_numpy(values).to(flat.device))

    return emit


def _took(move: _Move, found: dict[str, float], parameter: torch.Tensor) -> None:
    """Add what a parameter's gradient is along its way, and let go of the gradient."""
    assert parameter.grad is not None
    assert move.held is not None
    gradient = parameter.grad.view(-1)
    found[move.name] += sum(
        float(amount) * float(torch.dot(along, gradient)) for amount, along in zip(move.way, move.held, strict=True)
    )
    parameter.grad = None


def _across(parameter: torch.Tensor, way: Array, parts: dict[int, float]) -> Emit:
    """The same block by block: parts[start of a block]."""
    assert parameter.grad is not None
    gradient = parameter.grad.view(-1)

    def emit(start: int, values: Singles) -> None:
        rows = torch.from_numpy(values).to(gradient.device)
        block = gradient[start : start + values.shape[1]]
        parts[start] = float(sum(float(one) * float(torch.dot(row, block)) for one, row in zip(way, rows, strict=True)))

    return emit
