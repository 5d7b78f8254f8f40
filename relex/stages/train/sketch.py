"""A fixed-size random sketch of a long vector, linear, that keeps inner products. Pure.

A vector x is cut into rows of m columns. Row r is multiplied by fixed random column signs, turned cyclically by a
random offset and added with a random sign to one sum of m values: a count sketch (Charikar, Chen, Farach-Colton 2002)
whose hash is a rotation per row, so that no row is ever looked up element by element. For any x and y

    E <Sx, Sy> = <x, y>,    Var <Sx, Sy> <= 6/m |x|^2 |y|^2

Products of a row with itself are exact. Two different rows r, q contribute s_r s_q A_rq with independent signs, and
E A_rq^2 <= 3/m |x_r|^2 |y_q|^2: of the m equally likely offsets between them one aligns the columns (Cauchy-Schwarz),
the others leave independent pairs of column signs, of which those of offset m/2 occur twice. Being linear, the sketch
keeps a straight line straight: what has rank 1 has rank 1 in the sketch, exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

import torch

from relex.core.seeding import seed_of

COLUMNS = 1 << 15
_TOGETHER = 64  # rows that one thread adds: torch uses a single one for an operation as long as a row


def relative_error(columns: int = COLUMNS) -> float:
    """Bound of the standard error of <Sx, Sy>, in units of |x| |y|."""
    return (6.0 / columns) ** 0.5


class Sketch:
    """The same random map for every step of a window. It depends on `seed` and on the tensors' names and shapes."""

    def __init__(self, columns: int = COLUMNS, seed: int = 0):
        """columns: m, values of a sketch; 4 m bytes."""
        self.columns, self._seed = columns, seed
        self._drawn: dict[str, tuple[torch.Tensor, list[int], list[int]]] = {}

    def of(self, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """S x [m] float32 on the processor, of all tensors (floating, any shape and device) as one vector."""
        total: dict[torch.device, torch.Tensor] = {}
        for name in sorted(tensors):
            flat = tensors[name].detach().reshape(-1).float()
            if flat.device not in total:
                total[flat.device] = torch.zeros(self.columns, device=flat.device)
            self._add(total[flat.device], name, flat)
        return sum((part.cpu() for part in total.values()), torch.zeros(self.columns))

    def _add(self, total: torch.Tensor, name: str, flat: torch.Tensor) -> None:
        rows = len(self._draw(name, flat)[1])
        if rows <= _TOGETHER:
            self._add_rows(total, name, flat, range(rows))
            return
        # Of fixed size and summed in their order: how many threads there are changes no bit.
        parts = [range(first, min(first + _TOGETHER, rows)) for first in range(0, rows, _TOGETHER)]

        def part(of: range) -> torch.Tensor:
            found = torch.zeros_like(total)
            self._add_rows(found, name, flat, of)
            return found

        if flat.device.type == "cpu" and torch.get_num_threads() > 1:
            with ThreadPoolExecutor(torch.get_num_threads()) as threads:
                sums: Iterable[torch.Tensor] = list(threads.map(part, parts))
        else:
            sums = map(part, parts)
        for one in sums:
            total.add_(one)

    def _add_rows(self, total: torch.Tensor, name: str, flat: torch.Tensor, rows: range) -> None:
        signs, offsets, flips = self._drawn[name]
        for row in rows:
            offset, flip = offsets[row], flips[row]
            part = flat[row * self.columns : (row + 1) * self.columns]
            cut = min(len(part), self.columns - offset)
            # One pass over the row and no copy of it: products with signs are exact, so only the sum is rounded.
            total[offset : offset + cut].addcmul_(part[:cut], signs[:cut], value=flip)
            if cut < len(part):
                total[: len(part) - cut].addcmul_(part[cut:], signs[cut : len(part)], value=flip)

    def _draw(self, name: str, flat: torch.Tensor) -> tuple[torch.Tensor, list[int], list[int]]:
        """Column signs, and an offset and a sign a row, of one tensor; drawn once, on the processor."""
        if name not in self._drawn:
            generator = torch.Generator().manual_seed(seed_of(self._seed, name))
            rows = -(-flat.numel() // self.columns)
            width = min(flat.numel(), self.columns)
            signs = torch.randint(0, 2, (width,), generator=generator, dtype=torch.int8) * 2 - 1
            offsets = torch.randint(0, self.columns, (rows,), generator=generator).tolist()
            flips = (torch.randint(0, 2, (rows,), generator=generator) * 2 - 1).tolist()
            self._drawn[name] = (signs.to(flat.device, torch.float32), offsets, flips)
        return self._drawn[name]
