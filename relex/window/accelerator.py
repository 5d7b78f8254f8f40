"""Arithmetic of a stream on an accelerator, by PyTorch: blocks go over as stored, everything else happens there."""

from __future__ import annotations

import os
import threading

import numpy as np
import torch
from numpy.typing import NDArray

from relex.forecast.directed import Directed
from relex.forecast.subspace import Array
from relex.window.arithmetic import Emit, Partial
from relex.window.kernels import decode as kernels
from relex.window.opened import Block, Opened

_WIDEST = 1 << 18  # columns of a block: sums of many targets at once, too, are held for all of them
_ROW_BYTES = 4 + 4 + 4 + 8  # of a value of a row: as staged and as stored, its delta in float32 and in float64
_BLOCK_BYTES = 128 << 20  # of the rows of a block: copies of some megabytes reach the bus's bandwidth
_STORED = {
    kernels.KIND_FLOAT32: torch.float32,
    kernels.KIND_BFLOAT16: torch.bfloat16,
    kernels.KIND_FLOAT16: torch.float16,
    kernels.KIND_INT8: torch.int8,
}


class Accelerator:
    """arithmetic.Arithmetic on a torch device. All products are taken in float64."""

    def __init__(self, device: str):
        self._device = torch.device(device)
        self._local = threading.local()

    def widest(self, steps: int) -> int:
        """The largest power of two with which a block's rows take no more than _BLOCK_BYTES: not a width by the budget,
        with which the order of the sums, and so their bits, would follow it."""
        columns = min(_WIDEST, _BLOCK_BYTES // (steps * _ROW_BYTES))
        return max(kernels.CHUNK, 1 << (columns.bit_length() - 1))

    def bytes_needed(self, steps: int, columns: int, targets: int) -> int:
        """The staging buffer here, and stored rows, float32 and float64 deltas and the sums on the device."""
        return columns * (steps * _ROW_BYTES + targets * 16)

    def _deltas(self, opened: Opened, block: Block) -> tuple[torch.Tensor, torch.Tensor]:
        """delta [T, columns] and theta_0 [columns], float32 on the device."""
        rows, (start, stop) = opened.rows, block
        item = kernels.ITEM_BYTES[rows.kind]
        needed = rows.count * (stop - start) * item
        # Page-locked memory is what a device copies from directly; the copy is waited for before it is used again.
        if getattr(self._local, "staging", torch.empty(0)).numel() < needed:
            pinned = self._device.type == "cuda"
            self._local.staging = torch.empty(needed, dtype=torch.uint8, pin_memory=pinned)
        staging = self._local.staging[:needed].view(rows.count, -1)
        kept = None
        if opened.kept is not None:
            kept = opened.kept[rows.count * item * start : rows.count * item * stop].reshape(rows.count, -1)
        host = staging.numpy()
        for row in range(rows.count):
            if kept is not None and opened.filled:
                host[row] = kept[row]
                continue
            self._read(opened, row, start * item, host[row])
            if kept is not None:
                kept[row] = host[row]
        found = staging.to(self._device).view(_STORED[rows.kind]).float()
        if rows.scales is not None:
            factors = torch.from_numpy(rows.scales_of(start, stop)).to(self._device)
            if rows.kind == kernels.KIND_INT8:
                factors = factors.repeat_interleave(kernels.SCALE_BLOCK, dim=1)[:, : stop - start]
            found = found * factors
        base = np.empty((stop - start) * kernels.ITEM_BYTES[rows.base_kind], np.uint8)
        self._read(opened, rows.count, start * kernels.ITEM_BYTES[rows.base_kind], base)
        origin = torch.from_numpy(base).to(self._device).view(_STORED[rows.base_kind]).float()
        return (found - origin if rows.subtract else found), origin

    @staticmethod
    def _read(opened: Opened, row: int, begin: int, into: NDArray[np.uint8]) -> None:
        """Fill `into` with bytes of a row from `begin` on."""
        left, position = into.data, opened.rows.starts[row] + begin
        while left:
            done = os.preadv(opened.handles[row], [left], position)
            if not done:
                opened.check(row)
            left, position = left[done:], position + done

    def gram(self, opened: Opened, block: Block, first: int, lead: Array) -> Partial:
        """See arithmetic.Arithmetic."""
        moved = self._deltas(opened, block)[0].double()
        moved -= torch.from_numpy(lead).to(self._device)[:, None] * moved[-1].clone()
        found = np.zeros((len(lead), len(lead)))
        found[first:] = (moved[first:] @ moved.T).cpu().numpy()
        return Partial(found, None)

    def sums(self, opened: Opened, block: Block, weights: Directed, emit: Emit, *, onto_base: bool) -> None:
        """See arithmetic.Arithmetic."""
        moved, origin = self._deltas(opened, block)
        along = torch.zeros(len(weights.directions), moved.shape[1], dtype=torch.float64, device=self._device)
        # Step by step: how a matrix product adds depends on its shape, that is on which other sums are asked for.
        for row, column in zip(moved, torch.from_numpy(weights.directions).to(self._device).T, strict=True):
            along.addcmul_(column[:, None], row.double())
        which, amounts = (torch.from_numpy(part).to(self._device) for part in (weights.which, weights.amounts))
        total = along[which].mul_(amounts[:, None])
        onto = origin if onto_base else torch.zeros_like(origin)
        emit(block[0], torch.where(total == 0, onto, (onto.double() + total).float()).cpu().numpy())
