"""Random directions whose every component is +1 or -1: each piece of one can be made alone, and its length is exact.

As Adam's updates are nearly signs, this is also what a training without any direction would do.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

_EACH = 256  # bits of a step of Philox's counter


def signs(name: str, start: int, count: int) -> NDArray[np.float32]:
    """Components [count], from `start` on, of the direction of a tensor of this name: +1 or -1."""
    bits = np.random.Philox(key=int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "little"))
    first, last = start // _EACH, -(-(start + count) // _EACH)
    bits.advance(first)
    words = bits.random_raw((last - first) * _EACH // 64).astype("<u8")
    found = np.unpackbits(words.view(np.uint8), bitorder="little")[start - first * _EACH :][:count]
    return found.astype(np.float32) * np.float32(2) - np.float32(1)
