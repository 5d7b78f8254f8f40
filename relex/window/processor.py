"""Arithmetic of a stream on the processor, by compiled loops: kernels/gram.py and kernels/sum.py."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relex.forecast.directed import Directed
from relex.forecast.subspace import Array
from relex.window.arithmetic import EXACT_BELOW, Emit, Partial
from relex.window.kernels import bfloat16 as kernels_bfloat16
from relex.window.kernels import decode as kernels
from relex.window.kernels import gram as kernels_gram
from relex.window.kernels import sum as kernels_sum
from relex.window.opened import Block, Opened
from relex.window.rounding import Rounding

_READ = 4 << 20  # bytes of rows read before they are used: fewer calls, and still in a cache then
_WIDEST = 1 << 20  # columns of a block
_SUMS = 1 << 18  # sums handed on at a time, those of all targets together, unless one reading makes more


class Processor:
    """arithmetic.Arithmetic by kernels/. Buffers are kept per thread."""

    def __init__(self) -> None:
        self._local = threading.local()
        self._rounding = Rounding()

    def widest(self, steps: int) -> int:
        """The same for every window: rows are read in groups within a block."""
        return _WIDEST

    def bytes_needed(self, steps: int, columns: int, targets: int) -> int:
        """Rows as read, theta_0, rows decoded and their differences, strips, and the sums in float32 and rounded."""
        padded = steps + kernels.TILE
        read = max(_READ, steps * 4 * kernels.CHUNK)
        decoded = padded * (kernels.CHUNK + kernels_bfloat16.LINE) * (8 + 4 + 2)
        strips = kernels.CHUNK * 8 * (kernels.TILE + targets)
        return read + 4 * _SUMS + decoded + strips + 8 * _SUMS * max(targets, 1)

    def _buffer(self, key: tuple[object, ...], make: Callable[[], NDArray]) -> NDArray:
        """This thread's buffer of that kind; the sums of one shape are kept, another shape replaces them."""
        held = self._local.__dict__.setdefault("held", {})
        if held.get(key[0], (None,))[0] != key:
            held[key[0]] = (key, make())
        return held[key[0]][1]

    def _scratch(self, rows: int, dtype: type) -> NDArray:
        return self._buffer((np.dtype(dtype).name, rows), lambda: kernels.scratch_for(rows, dtype))

    def _reading(self, opened: Opened, block: Block) -> tuple[Any, ...]:
        """group, kept, filled, raw, base_raw for a kernel; the groups of a block are the same in both passes."""
        rows, width = opened.rows, block[1] - block[0]
        most = max(_READ // (rows.count * rows.item * kernels.CHUNK), 1) * kernels.CHUNK
        most = min(most, _SUMS)  # where few steps are needed, too
        groups = max(-(-width // most), 1)
        group = -(-width // (groups * kernels.CHUNK)) * kernels.CHUNK  # the groups of a block are alike
        if opened.kept is None:
            size = rows.count * most * rows.item
            raw = self._buffer(("raw", size), lambda: kernels.aligned(size))
        else:
            raw = opened.kept
        base_raw = self._buffer(("base", most), lambda: kernels.aligned(most * 4))
        return (group, opened.kept is not None, opened.filled, raw, base_raw)

    def gram(self, opened: Opened, blocks: Iterable[Block], first: int, lead: Array) -> dict[Block, Partial]:
        """See arithmetic.Arithmetic."""
        return {block: self._gram(opened, block, first, lead) for block in blocks}

    def _gram(self, opened: Opened, block: Block, first: int, lead: Array) -> Partial:
        rows = opened.rows
        dtype = np.float64 if rows.numel < EXACT_BELOW else np.float32
        scratch = self._scratch(rows.count, dtype)
        gram = np.zeros((len(scratch), len(scratch)))
        files = (opened.handles, opened.positions)
        scales, arguments = rows.scales_of(*block), (*block, *self._reading(opened, block))
        by_differences = (
            kernels_bfloat16.AVAILABLE
            and dtype == np.float32
            and first == 0
            and rows.subtract
            and rows.kind == rows.base_kind == kernels.KIND_BFLOAT16
        )
        if by_differences:
            steps_gram = np.zeros_like(gram)
            failed = kernels_gram.difference_gram_block(
                *files,
                scales,
                *arguments,
                lead.astype(dtype),
                scratch,
                self._scratch(rows.count, np.uint16),
                self._buffer(("inexact",), lambda: np.empty(kernels.CHUNK, np.uint16)),
                self._buffer(("tile",), lambda: np.empty(kernels.TILE**2, np.float32)),
                gram,
                steps_gram,
            )
            opened.check(failed)
            return Partial(gram[: rows.count, : rows.count], steps_gram[: rows.count, : rows.count])
        base_kind = rows.base_kind if rows.subtract else kernels.KIND_ZERO
        failed = kernels_gram.gram_block(
            *files, rows.kind, scales, base_kind, *arguments, first, lead.astype(dtype), scratch, dtype(0), gram
        )
        opened.check(failed)
        return Partial(gram[: rows.count, : rows.count], None)

    def sums(
        self, opened: Opened, blocks: Iterable[Block], weights: Directed, emit: Emit, *, onto_base: bool, dtype: str
    ) -> None:
        """See arithmetic.Arithmetic. Handed on in parts that stay in a cache, however many sums there are."""
        for block in blocks:
            self._sums(opened, block, weights, emit, onto_base, dtype)

    def _sums(self, opened: Opened, block: Block, weights: Directed, emit: Emit, onto_base: bool, dtype: str) -> None:
        rows, count, apart = opened.rows, len(weights.which), len(weights.directions)
        group, *reading = self._reading(opened, block)
        padded = np.zeros((apart, -(-rows.count // kernels.TILE) * kernels.TILE))
        padded[:, : rows.count] = weights.directions
        four = self._buffer(("four",), lambda: np.zeros((kernels.TILE, kernels.CHUNK), np.float32))
        pairs = self._buffer(("pairs",), lambda: np.empty((2, kernels.CHUNK // 2)))
        totals = self._buffer(("totals", apart), lambda: np.empty((apart, kernels.CHUNK)))
        widest = group * max(_SUMS // (count * group), 1)
        out = self._buffer(("sums", count), lambda: np.empty(count * _SUMS, np.float32))
        if rows.kind == kernels.KIND_FLOAT16:
            padded[:, : rows.count] *= rows.scales_of(*block)[:, 0]
        for start in range(*block, widest):
            stop = min(start + widest, block[1])
            shaped = out[: count * (stop - start)].reshape(count, stop - start)
            failed = kernels_sum.sum_block(
                opened.handles,
                opened.positions,
                rows.kind,
                rows.scales_of(start, stop),
                rows.base_kind,
                start,
                stop,
                group,
                *reading,
                rows.subtract,
                onto_base,
                padded,
                weights.which,
                weights.amounts,
                four,
                pairs,
                totals,
                shaped,
            )
            opened.check(failed)
            emit(start, self._rounding(shaped, dtype))
