"""float32 values rounded to the dtype that a checkpoint stores, as bytes to be written."""

from __future__ import annotations

import threading

import numpy as np
import torch
from numpy.typing import NDArray

from relex.kernels import round_to_bfloat16

_STORED = {torch.float32: np.float32, torch.float16: np.float16, torch.bfloat16: np.uint16}


class Rounding:
    """Rounds to one dtype (float32, float16, bfloat16), to the nearest and ties to even, as torch does.

    Buffers are kept per thread and used again. Not torch itself: it starts threads of its own for every call.
    """

    def __init__(self, dtype: torch.dtype):
        self._dtype = dtype
        self._local = threading.local()

    def __call__(self, values: NDArray[np.float32]) -> memoryview:
        """The bytes of values [N] in the dtype; valid until this thread's next call."""
        if self._dtype == torch.float32:
            return values.view(np.uint8).data
        held = getattr(self._local, "held", None)
        if held is None or len(held) < len(values):
            held = self._local.held = np.empty(len(values), _STORED[self._dtype])
        out = held[: len(values)]
        if self._dtype == torch.bfloat16:
            round_to_bfloat16(values, out)
        else:
            with np.errstate(over="ignore", invalid="ignore"):
                np.copyto(out, values, casting="same_kind")
        return out.view(np.uint8).data
