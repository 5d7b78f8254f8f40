"""Candidates that are not written: the directions that those of one ray share, and what each takes of them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relex.checkpoints.directions import ITEM_BYTES, DirectionsWriter, directions_file
from relex.checkpoints.recipe import Recipe
from relex.checkpoints.side_files import copy_side_files
from relex.core import progress
from relex.core.digest import file_sha256
from relex.forecast.directed import Directed
from relex.forecast.factored import factored
from relex.forecast.subspace import Array
from relex.stages.extrapolate.rays import Ray
from relex.window.rows import Window
from relex.window.stream import Stream


@dataclass(frozen=True)
class Shared:
    """A ray's candidates along directions that they share. By tensor that moves: amounts [K, R], directions [R, T]."""

    ray: Ray
    amounts: Mapping[str, Array]
    directions: Mapping[str, Array]

    def shapes(self, window: Window) -> dict[str, tuple[int, int]]:
        """(R, numel) by tensor."""
        return {name: (len(rows), window.numel(name)) for name, rows in self.directions.items()}

    def recipe(self, place: int, window: Window, directions_sha256: str) -> Recipe:
        """Of the candidate at a place of the ray."""
        amounts = {name: tuple(amounts[place].tolist()) for name, amounts in self.amounts.items()}
        return Recipe(self.ray.name, window.trajectory.base_sha256, directions_sha256, amounts, dict(window.twins))


def shared(window: Window, ray: Ray, grams: Mapping[str, Array]) -> Shared | None:
    """The ray's candidates along what they share; None where files of their own would take no more.

    Random directions are not kept, and a model that does not move is its base: such candidates are files.
    """
    if ray.signs is not None:
        return None
    found = {}
    for name in window.names:
        if name not in window.twins and grams[name].any():
            amounts, directions = factored(ray.directed(name, grams[name]).dense)
            if len(directions):
                found[name] = amounts, directions
    kept = ITEM_BYTES * sum(len(directions) * window.numel(name) for name, (_, directions) in found.items())
    written = len(ray.candidates) * sum(spec.nbytes for spec in window.base.specs.values())
    if not 0 < kept < written:
        return None
    return Shared(ray, {name: one for name, (one, _) in found.items()}, {name: one for name, (_, one) in found.items()})


def most_directions(rays: Sequence[Shared]) -> int:
    """Directions of all rays together that one tensor has at most."""
    names = {name for one in rays for name in one.directions}
    return max((sum(len(one.directions.get(name, ())) for one in rays) for name in names), default=0)


def write_shared(stream: Stream, rays: Sequence[Shared], base: Path, folder: Path) -> None:
    """The directions of all rays by one pass over the window, and a folder a candidate, with its recipe.

    base: the checkpoint whose side files they have.
    """
    window = stream.window
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(DirectionsWriter(folder, one.ray.name, one.shapes(window))) for one in rays]
        for name in progress.bar(window.names, desc="directions", unit="tensor"):
            places = [
                (writer, row)
                for writer, one in zip(writers, rays, strict=True)
                for row in range(len(one.directions.get(name, ())))
            ]
            if not places:
                continue
            rows = np.concatenate([one.directions[name] for one in rays if name in one.directions])

            def emit(start: int, values: NDArray[Any], name: str = name, places: Any = places) -> None:
                for (writer, row), one in zip(places, values, strict=True):
                    writer.write(name, row, start, one)

            stream.sums_of(name, Directed.plain(rows), emit, onto_base=False)
    for one in rays:
        digest = file_sha256(directions_file(folder, one.ray.name))
        for place, name in enumerate(one.ray.candidates):
            (folder / name).mkdir()
            copy_side_files(base, folder / name)
            one.recipe(place, window, digest).write(folder / name)
