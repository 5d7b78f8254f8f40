"""Blocks of stored rows on their way to a device, several of one thread at a time.

A block's bytes are read into page-locked memory and go over in one piece on a copying queue, while a computing queue
works on the block before. What comes of a block goes back into page-locked memory, and is waited for only when the
block's memory is needed for another one, or when there are no more.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from relex.forecast.subspace import Array
from relex.window.kernels import decode as kernels
from relex.window.opened import Block, Opened
from relex.window.queues import Mark, Operation, Queue, Queues, page_locked_bytes

_ALIGNED = 256  # where each part of a block begins
_STORED = {
    kernels.KIND_FLOAT32: torch.float32,
    kernels.KIND_BFLOAT16: torch.bfloat16,
    kernels.KIND_FLOAT16: torch.float16,
    kernels.KIND_INT8: torch.int8,
}


class Stored(NamedTuple):
    """A block on the device: rows [T, C] and base [C] as stored, scales [T, S] float32, and the factors float64 that
    its arithmetic takes."""

    rows: torch.Tensor
    base: torch.Tensor
    scales: torch.Tensor
    factors: torch.Tensor


class Slot:
    """Memory for one block: its stored bytes here and there, and what comes of it, here."""

    stored: Stored  # of the block that was sent last; there until another one is

    def __init__(self, queues: Queues, copying: Queue, computing: Queue):
        self._queues, self._copying, self._computing = queues, copying, computing
        self._here = self._there = self._result = torch.empty(0, dtype=torch.uint8)
        self._done: Mark | None = None

    def result(self, shape: tuple[int, int], dtype: torch.dtype) -> torch.Tensor:
        """Page-locked memory for the block's result; the same until the slot takes another block."""
        size = math.prod(shape) * dtype.itemsize
        if len(self._result) < size:
            self._result = self._queues.page_locked(size)
        return self._result[:size].view(dtype).view(shape)

    def compute(self, operation: Operation) -> None:
        """Leave the block's arithmetic to the computing queue."""
        self._computing.put(operation)
        self._done = self._computing.mark()

    def wait(self) -> None:
        """Until the block's result is here. Its copy came before, so all of the slot may be used again."""
        assert self._done is not None
        self._done.wait()

    def send(self, opened: Opened, block: Block, factors: Array) -> None:
        """Read a block into the slot, which holds nothing that is still on its way, and leave it to the copying queue;
        what is computed from here on waits for it."""
        rows, (start, stop) = opened.rows, block
        width, base_item = stop - start, kernels.ITEM_BYTES[rows.base_kind]
        scales, factors = rows.scales_of(start, stop), np.ascontiguousarray(factors, np.float64)
        sizes = (rows.count * width * rows.item, width * base_item, scales.nbytes, factors.nbytes)
        begins = [0]
        for size in sizes:
            begins.append(-(-(begins[-1] + size) // _ALIGNED) * _ALIGNED)
        if len(self._here) < begins[-1]:
            self._here = self._queues.page_locked(begins[-1])
            self._there = self._queues.on_device(begins[-1], self._copying)
        places = [slice(begin, begin + size) for begin, size in zip(begins, sizes, strict=False)]
        here = [self._here.numpy()[place] for place in places]
        _read_rows(opened, block, here[0].reshape(rows.count, -1))
        _read(opened, rows.count, start * base_item, here[1])
        here[2][:] = scales.reshape(-1).view(np.uint8)
        here[3][:] = factors.reshape(-1).view(np.uint8)
        self._copying.send(self._there[: begins[-1]], self._here[: begins[-1]])
        self._computing.after(self._copying.mark())
        there = [self._there[place] for place in places]
        self.stored = Stored(
            there[0].view(_STORED[rows.kind]).view(rows.count, width),
            there[1].view(_STORED[rows.base_kind]),
            there[2].view(torch.float32).view(scales.shape),
            there[3].view(torch.float64).view(factors.shape),
        )


class Lane:
    """The slots and queues of one thread."""

    def __init__(self, queues: Queues, in_flight: int):
        self._copying, self._computing = queues.new(), queues.new()
        self._slots = [Slot(queues, self._copying, self._computing) for _ in range(in_flight)]

    def each(
        self,
        opened: Opened,
        blocks: Iterable[Block],
        factors_of: Callable[[Block], Array],
        begin: Callable[[Slot, Block], None],
        end: Callable[[Slot, Block], None],
    ) -> None:
        """Send every block and begin() its arithmetic; end() it, with its result here, in the order of the blocks.

        Nothing is on its way any more when this returns or raises.
        """
        free, flying = deque(self._slots), deque[tuple[Slot, Block]]()

        def end_oldest() -> None:
            slot, block = flying.popleft()
            slot.wait()
            end(slot, block)
            free.append(slot)

        try:
            for block in blocks:
                if not free:
                    end_oldest()
                slot = free.popleft()
                slot.send(opened, block, factors_of(block))
                begin(slot, block)
                flying.append((slot, block))
            while flying:
                end_oldest()
        finally:
            self._copying.finish()
            self._computing.finish()


def bytes_needed(steps: int, columns: int, factors: int, result: int) -> int:
    """What a slot takes, here and there, for blocks of 4 bytes a value, with so many factors and bytes of result."""
    stored = (steps + 1) * columns * 4 + factors * 8 + 4 * _ALIGNED
    return page_locked_bytes(stored) + stored + page_locked_bytes(result)


def _read_rows(opened: Opened, block: Block, into: NDArray[np.uint8]) -> None:
    """The stored rows [T, bytes] of a block: as they were kept, or read, and kept where there is room."""
    rows, (start, stop) = opened.rows, block
    kept = None
    if opened.kept is not None:
        kept = opened.kept[rows.count * rows.item * start : rows.count * rows.item * stop].reshape(rows.count, -1)
        if opened.filled:
            into[:] = kept
            return
    for row in range(rows.count):
        _read(opened, row, start * rows.item, into[row])
        if kept is not None:
            kept[row] = into[row]


def _read(opened: Opened, row: int, begin: int, into: NDArray[np.uint8]) -> None:
    """Fill `into` with bytes of a row from `begin` on."""
    left, position = into.data, opened.rows.starts[row] + begin
    while left:
        done = os.preadv(opened.handles[row], [left], position)
        if not done:
            opened.check(row)
        left, position = left[done:], position + done
