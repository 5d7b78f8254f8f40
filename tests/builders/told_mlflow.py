"""What MLflow, and this project's connection to it, leave in the environment of the process that asks a registry."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

_AT_FIRST = frozenset(os.environ)


def forget_registry(variables: MutableMapping[str, str]) -> None:
    """Take it out, but for what was there before any test."""
    for name in [*variables]:
        if (name.startswith("MLFLOW_") or name == "DO_NOT_TRACK") and name not in _AT_FIRST:
            del variables[name]
