"""The training state that an interrupted run goes on from: weights, optimiser, schedule, random states, counters.

The trainer writes it, to .relex/train/checkpoint-<step>/; it counts only once this module has marked it complete, after
everything is on disk and the window holds every step up to it. One complete state is kept, and it is never part of an
artifact. The files are this machine's own: nothing that a user hands over is read as training state.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from relex import atomic
from relex.digest import json_sha256
from relex.errors import InputError
from relex.workspace import STATE

FOLDER = STATE / "train"
# How the last training ended: its seconds, those of them before its last start, its processes, and what ended it.
RESULT = STATE / "train_result.json"
_MARK = "complete.json"
_SKETCHES = "sketches.safetensors"
_CODE = (
    "train_config",
    "train_process",
    "trainer",
    "seeded_sampling",
    "seeding",
    "prompts",
    "sketch",
    "rewards",
    "capture",
    "weight_deltas",
    "codec",
    "train_state",
)


@dataclass(frozen=True)
class TrainState:
    """A complete state: after optimiser step `step`; `seconds` of the budget were spent until then.

    sketches [T, m] float32: the forecast meter's, of the captured steps `captured`.
    """

    folder: Path
    step: int
    seconds: float
    captured: tuple[int, ...]
    sketches: torch.Tensor


def stamp(identity: dict[str, Any]) -> str:
    """What a state belongs to: the run, and the code that runs it. Another version of either starts anew."""
    here = Path(__file__).parent
    code = {name: (here / f"{name}.py").read_text(encoding="utf-8") for name in _CODE}
    return json_sha256({"identity": identity, "code": code, "torch": torch.__version__})


def path(step: int) -> Path:
    """Where the trainer writes the state of a step."""
    return FOLDER / f"checkpoint-{step}"


def complete(step: int, *, of: str, seconds: float, captured: Sequence[int], sketches: torch.Tensor) -> None:
    """Mark the state of `step` complete, and remove every other one. of: the run's stamp()."""
    folder = path(step)
    save_file({"sketches": sketches.contiguous()}, folder / _SKETCHES)
    atomic.sync_tree(folder)
    mark = {"stamp": of, "step": step, "seconds": seconds, "captured": list(captured)}
    atomic.write_json(folder / _MARK, mark)
    _keep(folder)


def newest(of: str, captured: Sequence[int], window: Sequence[int]) -> TrainState | None:
    """The complete state of the run with this stamp, if the steps of `window` up to it are all among the `captured`.

    Whatever else lies there is removed: unfinished states, and those of other runs.
    """
    found = None
    for folder in FOLDER.glob("checkpoint-*"):
        state = _read(folder, of)
        needed = {step for step in window if state is not None and step <= state.step}
        if state is not None and needed <= set(captured) and (found is None or state.step > found.step):
            found = state
    _keep(found.folder if found else None)
    return found


def current(of: str) -> TrainState | None:
    """The one complete state, where another process has already asked for the newest()."""
    return next((state for folder in FOLDER.glob("checkpoint-*") if (state := _read(folder, of))), None)


def remove() -> None:
    """Forget all states: the run is complete."""
    shutil.rmtree(FOLDER, ignore_errors=True)


def _read(folder: Path, of: str) -> TrainState | None:
    try:
        mark = atomic.read_json(folder / _MARK)
        if mark["stamp"] != of or folder != path(mark["step"]):
            return None
        sketches = load_file(folder / _SKETCHES)["sketches"]
    except (InputError, OSError, SafetensorError, KeyError, TypeError):
        return None
    if len(sketches) != len(mark["captured"]):
        return None
    return TrainState(folder, mark["step"], mark["seconds"], tuple(mark["captured"]), sketches)


def _keep(folder: Path | None) -> None:
    for other in FOLDER.glob("checkpoint-*"):
        if other != folder:
            shutil.rmtree(other)
