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

from relex.checkpoints.digest import model_sha256
from relex.core import atomic
from relex.core.asking import Asking
from relex.core.code import code_sha256
from relex.core.digest import file_sha256, json_sha256
from relex.core.errors import InputError
from relex.core.workspace import BASE, PROBLEMS, STATE, TRAIN_STATE
from relex.stages.train.accelerate_file import arithmetic
from relex.stages.train.params import Train

FOLDER = TRAIN_STATE
# How the last training ended: its seconds, those of them before its last start, its processes, its GPUs, what ended it.
RESULT = STATE / "train_result.json"
_MARK = "complete.json"
_SKETCHES = "sketches.safetensors"
# The code of a training; a change of anything else does not discard a state. tests/test_graph.py holds it against the
# imports.
_CODE = ("core", "rewards", "policy", "checkpoints", "trajectory", "forecast", "stages/train")
# Keys of the section that do not change a single weight of a captured step.
_NOT_IDENTITY = frozenset({"kind", "budget", "completions", "state_every", "stop_when", "accelerate"})


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


def identity(section: Train, asking: Asking, before: int = 0) -> dict[str, Any]:
    """What made a trajectory: the same identity is the same run. Neither a budget nor the window's end is part of it,
    so that a run that ended goes on, unless the learning rate's schedule ends with it.

    before: steps that the campaign took before this training, which say where its data begin.
    """
    train = section.model_dump(mode="json", exclude={**dict.fromkeys(_NOT_IDENTITY, True), "window": {"last"}})
    if section.lr_scheduler_type != "constant_with_warmup":
        train["budget"] = {"steps": section.budget.steps}
    if section.accelerate is not None:
        train["accelerate_file"] = arithmetic(Path(section.accelerate))
    train["chat"], train["system"] = asking.chat, asking.system
    return {
        "base_sha256": model_sha256(BASE),
        "problems_sha256": file_sha256(PROBLEMS / "train.jsonl"),
        "steps_before": before,
        "train": train,
        "train_sha256": json_sha256(train),
    }


def stamp(identity: dict[str, Any], processes: int) -> str:
    """What a state belongs to: the run, and the code that runs it. Another version of either starts anew."""
    return json_sha256(
        {"identity": identity, "processes": processes, "code": code_sha256(_CODE), "torch": torch.__version__}
    )


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


def current() -> TrainState | None:
    """The one complete state, where another process has already asked for the newest()."""
    return next((state for folder in FOLDER.glob("checkpoint-*") if (state := _read(folder))), None)


def _read(folder: Path, of: str | None = None) -> TrainState | None:
    try:
        mark = atomic.read_json(folder / _MARK)
        if (of is not None and mark["stamp"] != of) or folder != path(mark["step"]):
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
