"""Short RLVR, rank-1 extrapolation of its weights, and promotion only of what is proven better.

The rooms, the upper ones standing on the lower; imports run downwards only (the contracts are in pyproject.toml):

    cli          the command line; imports nothing heavy until a command runs
    nights       from hop to hop: what comes next, and the ledger's lines
    retention    what a project keeps of its nights, and what it lets go
    registry     MLflow: what is registered, promoted, rolled back, rebuilt
    params       params.yaml as a whole, and whether this machine can carry it out
    proving      the proof of checkpoint folders, without a night
    stages       one folder per DVC stage; they do not know each other
    window       an observed window, opened: passes over it within a memory budget
    policy       the language model asked in this process | trajectory: our format on disk
    rewards      problems and scores | forecast: the method, pure | checkpoints: folders of safetensors
    proof        what to generate next, and what rows prove, pure | ledger: what was spent and won
    core         what everything stands on

relex/ never imports Prefect nor flows/.

The names below are the library: docs/library.md shows each at work. Importing relex loads none of it.
"""

from __future__ import annotations

import importlib
from typing import Any

_LIBRARY = {
    "Capture": "relex.window.callback:Capture",
    "import_checkpoints": "relex.window.importing:import_checkpoints",
    "Trajectory": "relex.trajectory.reader:Trajectory",
    "materialize": "relex.trajectory.materialize:materialize",
    "Window": "relex.window.rows:Window",
    "grams": "relex.window.gram:grams",
    "spectrum": "relex.forecast.subspace:spectrum",
    "explained_share": "relex.forecast.subspace:explained_share",
    "Request": "relex.window.request:Request",
    "Options": "relex.window.options:Options",
    "extrapolate_folder": "relex.stages.extrapolate.stage:extrapolate_folder",
    "prove": "relex.proving.prove:prove",
    "Models": "relex.proving.options:Models",
    "Files": "relex.proving.options:Files",
    "ProofOptions": "relex.proving.options:Options",
    "InputError": "relex.core.errors:InputError",
}
__all__ = list(_LIBRARY)


def __getattr__(name: str) -> Any:
    if name not in _LIBRARY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _LIBRARY[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LIBRARY})
