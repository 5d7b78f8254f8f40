"""Directions that several candidates share: sums of deltas, a file a ray, beside the candidates.

candidates/directions/<ray>.safetensors   per tensor that moves [R, numel] float32
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relex.checkpoints.header import write_header
from relex.checkpoints.recipe import Recipe
from relex.core.digest import file_sha256
from relex.core.errors import CorruptArtifact, InputError
from relex.core.owner import final_name

DIRECTIONS = "directions"  # a folder beside the candidates
ITEM_BYTES = 4


def directions_file(candidates: Path, ray: str) -> Path:
    """Where the directions of a ray lie."""
    return candidates / DIRECTIONS / f"{ray}.safetensors"


def check_directions(folder: Path, recipe: Recipe) -> None:
    """InputError or CorruptArtifact where what lies beside a candidate's folder is not what its recipe was made for."""
    path = directions_file(folder.parent, recipe.ray)
    if not path.is_file():
        raise InputError("the file is missing", where=path, todo="run `relex extrapolate`")
    found = file_sha256(path)
    if found != recipe.directions_sha256:
        raise CorruptArtifact(
            "wrong hash", where=path, expected=recipe.directions_sha256, found=found, todo="run `relex extrapolate`"
        )


class DirectionsWriter:
    """Writes the file of one ray, part by part, from any thread. A context manager.

    shapes: (R, numel) by tensor. InputError where the disk is full, which shows before the work: the whole size is
    reserved.
    """

    def __init__(self, candidates: Path, ray: str, shapes: Mapping[str, tuple[int, int]]):
        self._path, self._shapes = directions_file(candidates, ray), shapes
        self._path.parent.mkdir(exist_ok=True)
        try:
            self._file = open(self._path, "xb", buffering=0)  # noqa: SIM115
            self._begins = write_header(self._file, {name: ("F32", shape) for name, shape in shapes.items()})
            size = ITEM_BYTES * sum(count * numel for count, numel in shapes.values())
            if size:
                os.posix_fallocate(self._file.fileno(), self._file.tell(), size)
        except OSError as error:
            raise self._full(error) from error

    def write(self, name: str, row: int, start: int, values: NDArray[np.float32]) -> None:
        """Values of one direction of a tensor, from column `start` on."""
        data = np.ascontiguousarray(values).view(np.uint8).data
        position = self._begins[name] + ITEM_BYTES * (row * self._shapes[name][1] + start)
        try:
            while data:
                done = os.pwrite(self._file.fileno(), data, position)
                data, position = data[done:], position + done
        except OSError as error:
            raise self._full(error) from error

    def _full(self, error: OSError) -> InputError:
        return InputError(
            "cannot write the directions",
            where=final_name(self._path.parent.parent),
            found=error.strerror or str(error),
            todo="nothing was left under the output's name; free space there",
        )

    def __enter__(self) -> DirectionsWriter:
        return self

    def __exit__(self, *_: Any) -> None:
        self._file.close()
