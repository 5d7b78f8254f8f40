"""float32 values rounded to the dtypes that checkpoints store, on the processor."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relex.window.kernels.decode import round_to_bfloat16


class Rounding:
    """Rounds to float32, float16 or bfloat16, to the nearest and ties to even, as torch does.

    Buffers are kept per thread and used again. Not torch itself: it starts threads of its own for every call.
    """

    def __init__(self) -> None:
        self._local = threading.local()

    def __call__(self, values: NDArray[np.float32], dtype: str) -> NDArray[Any]:
        """Values of any shape in a dtype of the safetensors format: themselves for F32, otherwise 16 bits each, as
        uint16; valid until this thread's next call."""
        if dtype == "F32":
            return values
        held = getattr(self._local, "held", None)
        if held is None or len(held) < values.size:
            held = self._local.held = np.empty(values.size, np.uint16)
        out = held[: values.size]
        if dtype == "BF16":
            round_to_bfloat16(values.reshape(-1), out)
        else:
            with np.errstate(over="ignore", invalid="ignore"):
                np.copyto(out.view(np.float16), values.reshape(-1), casting="same_kind")
        return out.reshape(values.shape)
