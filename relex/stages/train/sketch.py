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

from collections.abc import Mapping

import torch

from relex.core.seeding import seed_of

COLUMNS = 1 << 15


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
        signs, offsets, flips = self._draw(name, flat)
        for row, (offset, flip) in enumerate(zip(offsets, flips, strict=True)):
            part = flat[row * self.columns : (row + 1) * self.columns]
            part = part * signs[: len(part)]
            cut = min(len(part), self.columns - offset)
            total[offset : offset + cut].add_(part[:cut], alpha=flip)
            total[: len(part) - cut].add_(part[cut:], alpha=flip)

    def _draw(self, name: str, flat: torch.Tensor) -> tuple[torch.Tensor, list[int], list[int]]:
        """Column signs, and an offset and a sign a row, of one tensor; drawn once, on the processor."""
        if name not in self._drawn:
            generator = torch.Generator().manual_seed(seed_of(self._seed, name))
            rows = -(-flat.numel() // self.columns)
            width = min(flat.numel(), self.columns)
            signs = torch.randint(0, 2, (width,), generator=generator, dtype=torch.int8) * 2 - 1
            offsets = torch.randint(0, self.columns, (rows,), generator=generator).tolist()
            flips = (torch.randint(0, 2, (rows,), generator=generator) * 2 - 1).tolist()
            self._drawn[name] = (signs.to(flat.device), offsets, flips)
        return self._drawn[name]
