"""What MLflow, and this project's connection to it, leave in the environment of the process that asks a registry."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

_AT_FIRST = dict(os.environ)


def forget_registry(variables: MutableMapping[str, str]) -> None:
    """Make it what it was before any test."""
    for name in [*variables]:
        if name.startswith("MLFLOW_") or name == "DO_NOT_TRACK":
            if name in _AT_FIRST:
                variables[name] = _AT_FIRST[name]
            else:
                del variables[name]
