"""Arithmetic of a stream on an accelerator, by PyTorch: blocks go over as stored, everything else happens there.

All sums of a call come from one pass over the rows; see transfer.py for how copies and arithmetic overlap.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable

import numpy as np
import torch

from relex.forecast.directed import Directed
from relex.forecast.subspace import Array
from relex.window import products, transfer
from relex.window.arithmetic import EXACT_BELOW, Emit, Partial
from relex.window.kernels import decode as kernels
from relex.window.opened import Block, Opened
from relex.window.queues import Queues
from relex.window.rows import Rows
from relex.window.transfer import Lane, Slot, Stored

IN_FLIGHT = 2  # blocks of one thread

_WIDEST = 1 << 17  # columns of a block: sums of many targets at once, too, are held for all of them
# Of a block as stored: copies of some megabytes reach the bus's bandwidth. Below a power of two.
_BLOCK_BYTES = 31 << 20
_STRIP = 1 << 21  # values of a block that are worked on as residuals at a time
_ROUNDED = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}


class Accelerator:
    """arithmetic.Arithmetic on the device of `queues`. Gram products as products.py says; sums in float64."""

    def __init__(self, queues: Queues, *, in_flight: int = IN_FLIGHT):
        self._queues, self._in_flight = queues, in_flight
        self._local = threading.local()
        products.without_tf32()

    def widest(self, steps: int) -> int:
        """The largest power of two with which a block takes no more than _BLOCK_BYTES: not a width by the budget, with
        which the order of the sums, and so their bits, would follow it."""
        columns = min(_WIDEST, _BLOCK_BYTES // ((steps + 1) * 4))
        return max(kernels.CHUNK, 1 << (columns.bit_length() - 1))

    def bytes_needed(self, steps: int, columns: int, targets: int) -> int:
        """Page-locked memory and the device's together: the blocks in flight, and what the arithmetic of one takes."""
        count = max(targets, 1)
        result = max((steps + 1) * steps * 8, count * columns * 4)
        slot = transfer.bytes_needed(steps, columns, count * (steps + 1), result)
        strip = min(_strip(steps), columns)
        gram = steps * strip * (4 + 4 + 8 + 8) + products.bytes_needed(steps, strip) + 3 * (steps + 1) * steps * 8
        sums = columns * (8 * count + 64)  # along the directions, and a sum on its way from there to its dtype
        return self._in_flight * slot + max(gram, sums)

    def gram(self, opened: Opened, blocks: Iterable[Block], first: int, lead: Array) -> dict[Block, Partial]:
        """See arithmetic.Arithmetic. In float64 where the processor takes that too, and where products.BOUND would not
        hold, which follows from a block's values alone."""
        rows, small, found = opened.rows, opened.rows.numel < EXACT_BELOW, dict[Block, Partial]()
        shape = (rows.count - first + 1, rows.count)

        def begin(slot: Slot, block: Block, *, exact: bool = small) -> None:
            stored, result = slot.stored, slot.result(shape, torch.float64)
            slot.compute(lambda: _gram_into(result, rows, stored, first, exact=exact))

        def end(slot: Slot, block: Block) -> None:
            result = slot.result(shape, torch.float64).numpy()
            if not small and not products.in_range(result[-1]):
                begin(slot, block, exact=True)
                slot.wait()
            whole = np.zeros((rows.count, rows.count))
            whole[first:] = result[:-1]
            found[block] = Partial(whole, None)

        self._lane().each(opened, blocks, lambda _: lead[:, None], begin, end)
        return found

    def sums(
        self, opened: Opened, blocks: Iterable[Block], weights: Directed, emit: Emit, *, onto_base: bool, dtype: str
    ) -> None:
        """See arithmetic.Arithmetic. Rounded on the device, and handed on in page-locked memory."""
        rows, count, rounded = opened.rows, len(weights.which), _ROUNDED[dtype]
        # theta_0 is one more row: it comes off a sum of checkpoints as often as they were added. fsum: the same bits
        # however many steps without a weight there are.
        origins = [-math.fsum(row) if rows.subtract else 0.0 for row in weights.directions]

        def factors_of(block: Block) -> Array:
            steps = weights.directions
            if rows.kind == kernels.KIND_FLOAT16:
                steps = steps * rows.scales_of(*block)[:, 0]
            return np.column_stack([steps, origins])

        def begin(slot: Slot, block: Block) -> None:
            stored, result = slot.stored, slot.result((count, block[1] - block[0]), rounded)
            slot.compute(lambda: _sums_into(result, rows, stored, weights, onto_base=onto_base))

        def end(slot: Slot, block: Block) -> None:
            result = slot.result((count, block[1] - block[0]), rounded)
            # NumPy has no bfloat16: bits.
            emit(block[0], result.numpy() if dtype == "F32" else result.view(torch.int16).numpy().view(np.uint16))

        self._lane().each(opened, blocks, factors_of, begin, end)

    def _lane(self) -> Lane:
        if not hasattr(self._local, "lane"):
            self._local.lane = Lane(self._queues, self._in_flight)
        lane: Lane = self._local.lane
        return lane


def _strip(steps: int) -> int:
    """Columns of a block that are worked on as residuals at a time; it depends on the window alone."""
    return max(kernels.CHUNK, 1 << ((_STRIP // steps).bit_length() - 1))


def _gram_into(result: torch.Tensor, rows: Rows, stored: Stored, first: int, *, exact: bool) -> None:
    """result [T - first + 1, T] float64 = the products of the residuals, and the largest value of each."""
    total, strip = torch.zeros_like(result, device=stored.base.device), _strip(rows.count)
    for start in range(0, len(stored.base), strip):
        # float32, as the processor decodes them: neighbouring values' difference is exact.
        found = _decoded(rows, stored, slice(start, start + strip))
        if rows.subtract:
            found = found - stored.base[start : start + strip].float()
        moved = found.double()
        moved -= stored.factors * moved[-1].clone()
        if exact:
            found = torch.cat([products.products(moved, first), moved.new_zeros(1, rows.count)])
        else:
            found = products.single_products(moved, first)
        total[:-1] += found[:-1]
        total[-1] = torch.maximum(total[-1], found[-1])
    result.copy_(total, non_blocking=True)


def _decoded(rows: Rows, stored: Stored, columns: slice) -> torch.Tensor:
    """The rows of some columns, float32 [T, columns], scaled."""
    found = stored.rows[:, columns].float()
    if rows.scales is None:
        return found
    if rows.kind == kernels.KIND_FLOAT16:
        return found * stored.scales
    width, first = found.shape[1], columns.start // kernels.SCALE_BLOCK
    scales = stored.scales[:, first : first - (-width // kernels.SCALE_BLOCK)]
    return found * scales.repeat_interleave(kernels.SCALE_BLOCK, dim=1)[:, :width]


def _sums_into(result: torch.Tensor, rows: Rows, stored: Stored, weights: Directed, *, onto_base: bool) -> None:
    """result [K, C] = theta_0 (or 0) + amounts[k] sum_t directions[which[k], t] delta_t, rounded to float32 and then to
    its dtype."""
    along = torch.zeros(len(stored.factors), result.shape[1], dtype=torch.float64, device=stored.base.device)
    # Step by step: how a matrix product adds depends on its shape, that is on which other sums are asked for.
    for step, row in enumerate(stored.rows):
        if rows.kind == kernels.KIND_INT8:
            row = row.float() * stored.scales[step].repeat_interleave(kernels.SCALE_BLOCK)[: len(row)]
        along.addcmul_(stored.factors[:, step : step + 1], row.double())
    origin = stored.base.float()
    if rows.subtract:
        along.addcmul_(stored.factors[:, -1:], origin.double())
    onto = origin if onto_base else torch.zeros_like(origin)
    for at, (direction, amount) in enumerate(zip(weights.which.tolist(), weights.amounts.tolist(), strict=True)):
        total = along[direction] * amount
        moved = torch.where(total == 0, onto, (onto.double() + total).float())
        result[at].copy_(moved.to(result.dtype), non_blocking=True)
