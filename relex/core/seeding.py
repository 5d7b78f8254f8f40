"""One seed from several things that name a use of randomness."""

from __future__ import annotations

import hashlib


def seed_of(*parts: int | str) -> int:
    """A seed in [0, 2^32) for these parts; neighbouring parts give unrelated seeds.

    32 bits, because torch's generator on the processor ignores what is above them.
    """
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4], "big")
