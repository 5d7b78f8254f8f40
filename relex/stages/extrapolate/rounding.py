"""float32 values rounded to the dtypes that checkpoints store, as bytes to be written."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from relex.window.kernels.decode import round_to_bfloat16


class Rounding:
    """Rounds to float32, float16 or bfloat16, to the nearest and ties to even, as torch does.

    Buffers are kept per thread and used again. Not torch itself: it starts threads of its own for every call.
    """

    def __init__(self) -> None:
        self._local = threading.local()

    def __call__(self, values: NDArray[np.float32], dtype: str) -> memoryview:
        """The bytes of values [N] in a dtype of the safetensors format; valid until this thread's next call."""
        if dtype == "F32":
            return values.view(np.uint8).data
        held = getattr(self._local, "held", None)
        if held is None or len(held) < len(values):
            held = self._local.held = np.empty(len(values), np.uint16)
        out = held[: len(values)]
        if dtype == "BF16":
            round_to_bfloat16(values, out)
        else:
            with np.errstate(over="ignore", invalid="ignore"):
                np.copyto(out.view(np.float16), values, casting="same_kind")
        return out.view(np.uint8).data
