"""The words that params.yaml and the command line share for one choice: read by the sections and by Typer.

A word here names an entry of the table beside the code that it chooses: CODECS (trajectory/codec.py), FITS
(forecast/fits.py), SCORERS (rewards/score.py).
"""

from __future__ import annotations

import re
from typing import Literal, get_args

Codec = Literal["float32", "bfloat16", "float16", "int8"]
Fit = Literal["linear", "polynomial", "sinusoid", "two-point"]
Mode = Literal["extrapolate", "reconstruct", "fit-reconstruct"]
Anchor = Literal["line", "last"]
TensorKind = Literal["attention", "mlp", "norms", "embeddings", "other"]
Scorer = Literal["exact", "integer", "math-verify"]  # of rows that carry none; reasoning-gym's are its tasks' own
Device = Literal["cpu", "cuda", "auto"]
Write = Literal["all", "winner"]  # which candidates become files

_GROUP = re.compile(rf"({'|'.join(get_args(TensorKind))})(\.\d+)?")


def is_group(name: str) -> bool:
    """Whether it names tensors of a kind, `mlp`, or those of a kind in one layer, `mlp.11`."""
    return _GROUP.fullmatch(name) is not None
