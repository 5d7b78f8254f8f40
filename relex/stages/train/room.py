"""The disk that a window and the states of its training take."""

from __future__ import annotations

import shutil
from pathlib import Path

from relex.checkpoints.size import CheckpointSize, folder_size
from relex.core.errors import InputError
from relex.core.sizes import FLOAT32_BYTES, show_bytes
from relex.core.workspace import BASE, STATE, TRAJECTORY
from relex.stages.train.params import Train
from relex.trajectory.codec import CODECS

_STATE_VALUES = 3  # per trained parameter: the weight, and Adam's two moments
_STATE_COPIES = 2  # the newest complete state, and the next one while it is being written
_NOT_LINEAR = ("embed", "embd", "lm_head", "output.weight")  # two-dimensional, and yet adapters leave them out


def trajectory_bytes(train: Train, parameters: int) -> int:
    """Deltas of every step of the window."""
    return int(parameters * CODECS[train.codec].value_bytes) * len(train.window.steps)


def state_bytes(train: Train, base: CheckpointSize) -> int:
    """What a resume needs, twice: the newest state stays until the next one is complete."""
    trained = base.parameters
    if train.lora is not None and base.shapes is not None:
        linear = [shape for name, shape in base.shapes.items() if not any(part in name for part in _NOT_LINEAR)]
        trained = min(trained, sum(train.lora.r * sum(shape) for shape in linear if len(shape) == 2))
    return trained * _STATE_VALUES * FLOAT32_BYTES * _STATE_COPIES


def check_room_for_training(train: Train, root: Path = Path()) -> None:
    """InputError when the window and the training state do not fit beside what an interrupted run has left of them.

    root: the project, with the base in place.
    """
    base = folder_size(root / BASE)
    need = trajectory_bytes(train, base.parameters) + state_bytes(train, base)
    there = sum(_bytes_below(root / place) for place in (TRAJECTORY, STATE / "train"))
    free = shutil.disk_usage(root).free
    if need - there > free:
        raise InputError(
            "too little disk for training",
            where=root.resolve(),
            expected=f"{show_bytes(need - there)} free for the window and the training state",
            found=show_bytes(free),
            todo="free room, or use a shorter window (train.window) or a smaller codec (train.codec)",
        )


def _bytes_below(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else 0
