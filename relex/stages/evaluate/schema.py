"""The roles of suites and the columns of rows: what this stage writes and the decision reads."""

from __future__ import annotations

import pyarrow as pa

# Roles. choose and gate are the two fixed parts of validation; test is only reported; ood guards against loss.
CHOOSE, GATE, TEST, OOD = "choose", "gate", "test", "ood"
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
