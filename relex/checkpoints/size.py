"""How large a checkpoint is, from its headers alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from relex.checkpoints.header import read_header
from relex.core.errors import CorruptArtifact

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class CheckpointSize:
    """size: bytes of the weight files. parameters: how many values. shapes: of its tensors, where known."""

    size: int
    parameters: int
    shapes: Shapes | None = None

    @classmethod
    def of(cls, shapes: Shapes, width: float) -> CheckpointSize:
        count = sum(math.prod(shape) for shape in shapes.values())
        return cls(int(count * width), count, shapes)


def folder_size(folder: Path) -> CheckpointSize:
    """The size of a checkpoint folder, from its headers; an unreadable header counts as values of two bytes."""
    files = sorted(folder.glob("*.safetensors"))
    size = sum(file.stat().st_size for file in files)
    try:
        shapes = {name: tuple(spec.shape) for file in files for name, spec in read_header(file)[0].items()}
    except (CorruptArtifact, OSError):
        return CheckpointSize(size, size // 2)  # an upper bound: no supported dtype is narrower
    return CheckpointSize(size, sum(math.prod(shape) for shape in shapes.values()), shapes)
