"""What a stream asks of a device: the protocol, and the blocks of columns that it works on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from relex.forecast.directed import Directed
from relex.forecast.subspace import Array
from relex.window.kernels import decode as kernels
from relex.window.opened import Block, Opened

BLOCKS = 4  # at least, for any tensor that is not small
EXACT_BELOW = 1 << 17  # elements under which Gram products are taken in float64: small tensors average less

# (first column, values [K, columns]: float32, or uint16 that hold the bits of a bfloat16 or float16)
Emit = Callable[[int, NDArray[Any]], None]


class Partial(NamedTuple):
    """What a block adds to G, as lower triangles [T, T] float64: of X X^T, and of E E^T or None for nothing.

    X as in kernels.gram.gram_block; E: the differences between neighbouring checkpoints, the first one's from theta_0.
    """

    residuals: Array
    differences: Array | None


class Arithmetic(Protocol):
    """Where the arithmetic runs: processor.py, or accelerator.py. Called from several threads, each of which takes the
    next of a tensor's blocks until none is left."""

    def widest(self, steps: int) -> int:
        """Columns of a block at most, a multiple of kernels.CHUNK; it depends on the window alone."""
        ...

    def bytes_needed(self, steps: int, columns: int, targets: int) -> int:
        """Buffers of one thread, for blocks of `columns`."""
        ...

    def gram(self, opened: Opened, blocks: Iterable[Block], first: int, lead: Array) -> dict[Block, Partial]:
        """Each block's part of G, from row `first`; lead [T] as in kernels.gram.gram_block."""
        ...

    def sums(
        self, opened: Opened, blocks: Iterable[Block], weights: Directed, emit: Emit, *, onto_base: bool, dtype: str
    ) -> None:
        """Weighted sums of each block, on theta_0 or alone, in one part or several.

        Rounded once to float32 and then to dtype (F32, BF16 or F16). What emit receives is valid until it returns.
        """
        ...


def blocks_of(numel: int, widest: int) -> list[Block]:
    """The blocks of a tensor: of equal multiples of CHUNK columns, at most `widest`, a multiple of BLOCKS of them."""
    if numel <= kernels.CHUNK * BLOCKS:
        return [(0, numel)] if numel else []
    count = -(-numel // (widest * BLOCKS)) * BLOCKS
    step = -(-numel // (count * kernels.CHUNK)) * kernels.CHUNK
    return [(start, min(start + step, numel)) for start in range(0, numel, step)]
