"""Products of residuals on an accelerator: float32 multiplied and added at full speed where a bound allows it.

Many cards multiply float64 at 1/64 of the rate of float32. The rows x_i [C] are what is left of the deltas beside the
straight path to the last one, taken in float64 (accelerator.py) and rounded once to float32: differences come first, so
nothing large cancels afterwards. Products are added up in float32 over TERMS columns at a time, those sums in float64.

The bound, with u = 2^-24: rounding x_i and x_j changes a product by at most 2 u + u^2 of it. A sum of n products in
float32 is off by at most g sum_k |x_ik x_jk|, g = n u / (1 - n u), in whatever order it is added, fused or not (Higham,
Accuracy and Stability of Numerical Algorithms, 2nd edition, section 3.1). That a product or a sum falls below the
smallest normal number, and is flushed to zero, adds 2^-126 each: 2 C of them are at most u / 2 of |x_i| |x_j| where
both rows' largest values are at least LOW and C <= 2^20. By Cauchy and Schwarz, for n = TERMS = 128,

    |G_ij - x_i . x_j| <= (n + 3) u |x_i| |x_j| = BOUND |x_i| |x_j| < 1e-5 |x_i| |x_j|.

Not bfloat16 products of successive differences, as the processor has them: those errors are relative to the path's
length, which along a nearly straight one is many times a residual's, and what tensor cores round where is not
documented. A copy over the bus takes longer than these products either way.
"""

from __future__ import annotations

import torch

from relex.forecast.subspace import Array

TERMS = 128  # products added up in float32
BOUND = (TERMS + 3) * 2.0**-24
LOW, HIGH = 2.0**-40, 2.0**50  # of a row's largest value, where BOUND holds; the squares of HIGH are finite


def products(rows: torch.Tensor, first: int) -> torch.Tensor:
    """x_i . x_j of rows [T, C] float64, i from `first` on: [T - first, T] float64, in float64."""
    return rows[first:] @ rows.T


def single_products(rows: torch.Tensor, first: int) -> torch.Tensor:
    """The same within BOUND if `in_range` of the largest values, which come as one more row: [T - first + 1, T]."""
    single = rows.float()
    whole = single.shape[1] - single.shape[1] % TERMS
    parts = single[:, :whole].unflatten(1, (-1, TERMS)).transpose(0, 1)
    found = torch.bmm(parts[:, first:], parts.transpose(1, 2)).sum(0, dtype=torch.float64)
    rest = single[:, whole:]
    found += (rest[first:] @ rest.T).double()
    return torch.cat([found, single.abs().amax(1).double()[None]])


def in_range(largest: Array) -> bool:
    """Whether BOUND holds for rows whose largest values are these [T]; a row of zeros is exact. False for NaN."""
    return bool(((largest == 0) | ((largest >= LOW) & (largest <= HIGH))).all())


def without_tf32() -> None:
    """Have float32 products be float32 products on this process's devices, as is torch's default."""
    if torch.get_float32_matmul_precision() != "highest":
        torch.set_float32_matmul_precision("highest")


def bytes_needed(steps: int, columns: int) -> int:
    """What single_products takes for rows [steps, columns], beside them."""
    chunks = -(-columns // TERMS)
    return steps * columns * (4 + 4) + chunks * steps * steps * (4 + 8)
