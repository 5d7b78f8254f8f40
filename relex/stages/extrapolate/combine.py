"""Weighted sums of deltas written as checkpoints: theta = theta_0 + sum_i w_i delta_i, tensor by tensor."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relex.checkpoints.writer import CheckpointWriter
from relex.core import progress
from relex.forecast.directed import Directed
from relex.forecast.subspace import Array
from relex.stages.extrapolate.pipeline import Pipeline, Work
from relex.stages.extrapolate.signs import signs
from relex.window.arithmetic import Emit
from relex.window.opened import Opened
from relex.window.rounding import Rounding
from relex.window.stream import TOGETHER, Stream

WeightsOf = Callable[[str, Array], Directed]  # (tensor name, its G [T, T]) -> w [K, T]
SignsOf = Callable[[str, Array], Array]  # the same -> [K]


def write_sums(
    stream: Stream,
    weights_of: WeightsOf,
    writers: Sequence[CheckpointWriter],
    known: int,
    grams: Mapping[str, Array],
    names: Sequence[str] | None = None,
    signs_of: SignsOf | None = None,
) -> dict[str, Array]:
    """Write one checkpoint per row of the weights, and return G of every tensor that moves.

    writers [K] in the base's layout; grams: what is known of G, the first `known` rows of each; names: these tensors of
    the base only (a tied head comes with its embedding). Sums are rounded once to float32 and then to the base's dtype.
    A tensor that never moved, or that no delta exists for, keeps the base's bytes. A tied head that the base writes out
    follows its embedding. signs_of: how much of the tensor's random direction (signs.py) comes to each sum.
    """
    window = stream.window
    total = len(window.steps)
    heads = {embedding: head for head, embedding in window.twins.items()}
    found = dict[str, Array]()
    out = _Out(stream, writers)

    def sums(opened: Opened, weights: Directed, places: Sequence[str]) -> Work:
        amounts = np.zeros(len(writers)) if signs_of is None else signs_of(places[0], found[places[0]])
        done = stream.begin_sums(opened, weights, out.emitter(places, amounts), dtype=out.dtype(places, amounts))
        yield
        done()

    def work(name: str, places: Sequence[str]) -> Work:
        if known == total:
            found[name] = grams[name]
            if found[name].any():
                used, weights = weights_of(name, found[name]).needed(TOGETHER)
                with stream.opened(name, which=used) as opened:
                    yield from sums(opened, weights, places)
        else:
            with stream.opened(name, keep=True) as opened:
                gram = stream.begin_gram(opened, grams.get(name), known)
                yield
                found[name] = gram()
                if found[name].any():
                    yield from sums(opened, weights_of(name, found[name]), places)
        if not found[name].any():
            _copy(stream, writers, places, name)

    with Pipeline(stream.ahead) as pipeline:
        for name in progress.bar(names or window.base.names, desc="extrapolate", unit="tensor"):
            if name in window.twins:
                continue
            places = [name, heads[name]] if name in heads else [name]
            if name not in window.names:
                _copy(stream, writers, places, name)
                continue
            while pipeline.flying and not stream.has_room(name):
                pipeline.advance()
            pipeline.start(work(name, places))
    return found


class _Out:
    """Sums written, one file each. A file takes one write at a time: threads begin with different ones."""

    def __init__(self, stream: Stream, writers: Sequence[CheckpointWriter]):
        self._specs, self._threads, self._writers = stream.window.base.specs, stream.threads, writers
        self._rounding = Rounding()
        self._seen = dict[int, int]()

    def dtype(self, places: Sequence[str], amounts: Array) -> str:
        """How the sums of a tensor come: rounded already, unless a random direction is still added to any."""
        return "F32" if amounts.any() else self._specs[places[0]].dtype

    def emitter(self, places: Sequence[str], amounts: Array) -> Emit:
        """What takes the sums of a tensor, for all of its places. amounts [K]: of its random direction."""
        spec = self._specs[places[0]]
        unfinished = amounts.any()

        def emit(start: int, values: NDArray[Any]) -> None:
            assert len(values) == len(self._writers)
            thread = self._seen.setdefault(threading.get_ident(), len(self._seen))
            first = thread * len(self._writers) // self._threads
            for at in range(first, first + len(self._writers)):
                turn = at % len(self._writers)
                if amounts[turn]:
                    values[turn] += np.float32(amounts[turn]) * signs(places[0], start, values.shape[1])
                rounded = self._rounding(values[turn], spec.dtype) if unfinished else values[turn]
                for place in places:
                    self._writers[turn].write_raw(place, rounded.view(np.uint8).data, start * spec.itemsize)

        return emit


def _copy(stream: Stream, writers: Sequence[CheckpointWriter], places: Sequence[str], name: str) -> None:
    for writer in writers:
        for place in places:
            writer.write_raw(place, stream.window.base.raw(name))
