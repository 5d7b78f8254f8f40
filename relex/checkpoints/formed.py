"""Candidates without files: a base and amounts along directions that several of them share.

    theta = theta_0 + sum_j amount_j direction_j

in float64, rounded once to float32 and then to the base's dtype. So a model is a pass over its base and R directions
away, for as many as there are, and only what is needed as a file becomes one. What lies where: recipe.py and
directions.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from relex.checkpoints.directions import directions_file
from relex.checkpoints.header import FLOATING
from relex.checkpoints.recipe import read_recipe
from relex.checkpoints.side_files import copy_side_files
from relex.checkpoints.tensors import CheckpointReader, TensorFile
from relex.checkpoints.tying import implied_heads
from relex.checkpoints.writer import CheckpointWriter
from relex.core.errors import CorruptArtifact, InputError

if TYPE_CHECKING:
    import torch

_AT_ONCE = 1 << 15  # values formed at a time
_PIECE = 1 << 20  # of a tensor, for one thread


class Formed:
    """The tensors of a candidate that has a recipe, formed one by one as they are asked for; `base` holds theta_0.

    A context manager. InputError or CorruptArtifact where recipe, directions and base do not fit; whether they are the
    same bytes is for who asks once: directions.check_directions, and the base's hash.
    """

    def __init__(self, folder: Path, base: Path):
        self.folder, self.recipe = Path(folder), read_recipe(folder)
        self.base = CheckpointReader(base)
        self._pool: ThreadPoolExecutor | None = None
        path = directions_file(self.folder.parent, self.recipe.ray)
        self._directions = TensorFile(path)
        for name, amounts in self.recipe.amounts.items():
            spec, held = self.base.specs.get(name), self._directions.specs.get(name)
            if spec is None or spec.dtype not in FLOATING:
                raise InputError("the recipe moves a tensor that the base lacks", where=f"{self.folder}: {name}")
            expected = ("F32", (len(amounts), spec.numel))
            if held is None or (held.dtype, held.shape) != expected:
                where = f"{path}: {name}"
                what = "not the directions of the recipe"
                raise CorruptArtifact(what, where=where, expected=expected, found=held and (held.dtype, held.shape))
        for head, embedding in self.recipe.twins.items():
            if not {head, embedding} <= self.base.specs.keys():
                raise InputError("the recipe ties tensors that the base lacks", where=f"{self.folder}: {head}")

    def tensor(self, name: str) -> torch.Tensor:
        """One tensor in the base's shape and dtype. Where nothing is added, theta_0's bits."""
        import torch

        source = self.recipe.twins.get(name, name)
        theta = self.base.tensor(source)
        amounts = self.recipe.amounts.get(source)
        if not amounts or not theta.numel():
            return theta
        rows = np.frombuffer(self._directions.raw(source), np.float32).reshape(len(amounts), -1)
        flat = theta.contiguous().reshape(-1)
        out = torch.empty_like(flat)

        def form(piece: int) -> None:
            adding = _Adding(_AT_ONCE)
            for start in range(piece, min(piece + _PIECE, flat.numel()), _AT_ONCE):
                part = slice(start, min(start + _AT_ONCE, flat.numel()))
                found = adding(flat[part].float().numpy(), rows[:, part], amounts)
                out[part] = torch.from_numpy(found)  # rounds to the nearest, ties to even

        pieces = range(0, flat.numel(), _PIECE)
        for _ in map(form, pieces) if len(pieces) == 1 else self._threads(torch.get_num_threads()).map(form, pieces):
            pass
        return out.reshape(theta.shape)

    def _threads(self, count: int) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(count, thread_name_prefix="relex-formed")
        return self._pool

    def tensors(self, *, head: str | None = None) -> Iterator[tuple[str, torch.Tensor]]:
        """All of them, by name; head: an output head to be given although the checkpoint leaves it out as tied."""
        for name in self.base.names:
            yield name, self.tensor(name)
        if head is not None:
            yield from ((name, self.tensor(tied)) for name, tied in implied_heads(self.base, [head]).items())

    def write(self, folder: Path) -> None:
        """A checkpoint folder like the base's, with the candidate's own side files; `folder` is empty."""
        copy_side_files(self.folder, folder)
        with CheckpointWriter(folder, self.base) as writer:
            for name in self.base.names:
                writer.write(name, self.tensor(name))

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
        self._directions.close()
        self.base.close()

    def __enter__(self) -> Formed:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Adding:
    """theta + sum_j amounts_j rows_j, in float64, rounded once to float32; theta's own bits where the sum is zero."""

    def __init__(self, widest: int):
        """widest: columns at most. The buffers are used again: they stay in a processor's cache."""
        self._total, self._term, self._out = np.empty(widest), np.empty(widest), np.empty(widest, np.float32)

    def __call__(
        self, theta: NDArray[np.float32], rows: NDArray[np.float32], amounts: tuple[float, ...]
    ) -> NDArray[np.float32]:
        """theta [columns], rows [R, columns], amounts [R]; valid until the next call."""
        count = len(theta)
        total, term, out = self._total[:count], self._term[:count], self._out[:count]
        np.multiply(rows[0], amounts[0], out=total, dtype=np.float64)
        for row, amount in zip(rows[1:], amounts[1:], strict=True):
            np.multiply(row, amount, out=term, dtype=np.float64)
            total += term
        still = total == 0.0
        total += theta
        with np.errstate(over="ignore"):  # a forecast too far; the evaluation tells what it is worth
            np.copyto(out, total, casting="same_kind")
        np.copyto(out, theta, where=still)
        return out
