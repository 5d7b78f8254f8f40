"""Memory in which the rows of open tensors are kept between the Gram matrix and the sums."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from relex.window.kernels.decode import aligned

Buffer = NDArray[np.uint8]

_LOOSE = 2  # a buffer up to so many times as large as needed is taken before another one is made


class Kept:
    """Buffers of together at most `size` bytes. Those given back are used again: fresh memory costs page faults."""

    def __init__(self, size: int):
        self.size = size
        self._free: list[Buffer] = []
        self._lent: dict[int, Buffer] = {}  # by the address of their first byte

    def has_room(self, needed: int) -> bool:
        """Whether take() would give so many bytes; True also for more than there could ever be."""
        return needed > self.size or _total(self._lent.values()) + needed <= self.size

    def take(self, needed: int) -> Buffer | None:
        """So many bytes, of any content, or None where there is no room."""
        used = _total(self._lent.values())
        if used + needed > self.size:
            return None
        held = min((buffer for buffer in self._free if len(buffer) >= needed), key=len, default=None)
        crowded = used + _total(self._free) + needed > self.size
        if held is not None and (crowded or len(held) <= _LOOSE * needed):
            self._free = [buffer for buffer in self._free if buffer is not held]
        else:
            self._free.sort(key=len)
            while self._free and used + _total(self._free) + needed > self.size:
                self._free.pop()
            held = aligned(needed)
        self._lent[held.ctypes.data] = held
        return held[:needed]

    def give(self, buffer: Buffer) -> None:
        """Take back what take() gave."""
        self._free.append(self._lent.pop(buffer.ctypes.data))


def _total(buffers: Iterable[Buffer]) -> int:
    return sum(map(len, buffers))
