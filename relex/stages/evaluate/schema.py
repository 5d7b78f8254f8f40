"""The columns of rows: what this stage writes and the decision reads."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

NON_FINITE = "non-finite"  # finish reason of the rows of a model whose logits are not numbers
CACHED = pa.schema(
    [
        ("problem", pa.string()),
        ("sample", pa.int32()),
        ("prompt", pa.string()),
        ("completion", pa.string()),
        ("tokens", pa.int32()),
        ("finish_reason", pa.string()),
        ("extracted", pa.string()),
        ("score", pa.float64()),
        ("timed_out", pa.bool_()),
        ("seconds", pa.float64()),  # since rows last finished, shared by those that finished together
    ]
)


# The stage output: no seconds, for they are all that differs between identical runs.
OUTPUT = pa.schema(
    [("model", pa.string()), ("model_sha256", pa.string()), ("suite", pa.string()), ("role", pa.string())]
    + [field for field in CACHED if field.name != "seconds"]
)


def flags(table: pa.Table, samples: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Which rows are right, were cut off, came from logits that are not numbers: each [problems, samples].

    table: rows whose samples of a problem stand side by side.
    """
    finish = table.column("finish_reason")
    found = (pc.greater(table.column("score"), 0.5), pc.equal(finish, "length"), pc.equal(finish, NON_FINITE))
    right, cut, broken = (column.to_numpy().astype(np.bool_).reshape(-1, samples) for column in found)
    return right, cut, broken
