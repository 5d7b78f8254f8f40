"""How much of a window's movement lies above the rounding of its checkpoints' dtype.

bfloat16 keeps 8 binary digits, float16 11: what a weight moves by less than its spacing is not stored, and a move of
one spacing may be nothing but a value that was rounded the other way. Of the squared movement, the part that weights
have which moved by more than one spacing is certainly movement; the rest may be rounding. The line through many steps
can be right all the same, since rounding averages out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from relex.checkpoints.tensors import CheckpointReader, torch_dtype
from relex.window.rows import Window

_COARSE = ("BF16", "F16")
_PIECE = 1 << 22  # values at a time


def above_rounding(window: Window) -> dict[str, Any] | None:
    """`above`: the share of the last observed step's squared movement; `dtypes`: that it is stored in.

    None where nothing is stored so coarsely, as in a window of deltas, which are taken from float32.
    """
    last = window.trajectory.manifest.steps[-1]
    if not last.folder:
        return None
    dtypes, whole, above = set(), 0.0, 0.0
    with CheckpointReader(Path(last.folder)) as reader:
        for name in window.names:
            dtype = reader.specs[name].dtype
            if dtype not in _COARSE:
                continue
            dtypes.add(dtype)
            theirs, ours = reader.tensor(name).view(-1), window.base.tensor(name).view(-1)
            for start in range(0, theirs.numel(), _PIECE):
                there, here = theirs[start : start + _PIECE].float(), ours[start : start + _PIECE].float()
                squared = (there - here).double().square()
                certain = (there - here).abs() > spacing(torch.maximum(there.abs(), here.abs()), torch_dtype(dtype))
                whole += float(squared.sum())
                above += float(squared[certain].sum())
    if not dtypes:
        return None
    return {"dtypes": sorted(dtypes), "above": above / whole if whole else 0.0}


def spacing(values: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The distance from values >= 0, float32, to the next one that `dtype` can hold; float32."""
    facts = torch.finfo(dtype)
    _, exponent = torch.frexp(values)
    found = torch.ldexp(torch.full_like(values, facts.eps), exponent - 1)
    return torch.where(values == 0.0, 0.0, found).clamp_min(facts.smallest_normal * facts.eps)
