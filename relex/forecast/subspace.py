"""From a Gram matrix to what is needed of the singular value decomposition of the deltas. Pure.

Notation: the deltas of one tensor, stacked and not centred, are M [T, d]; G = M M^T [T, T] = U diag(s^2) U^T. The
singular vectors V_r [d, r] are never formed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Spectrum(NamedTuple):
    """sigma [T]: singular values of M, falling. modes [T, T]: the columns are the left singular vectors U."""

    sigma: Array
    modes: Array


def spectrum(gram: Array) -> Spectrum:
    """Singular values and left singular vectors of M from its Gram matrix [T, T], float64.

    Each column of U has a positive sum of entries weighted by row number (rising coefficients), so that the sign,
    which the decomposition leaves open, is the same on every machine.
    """
    found = np.linalg.eigh((gram + gram.T) / 2)
    values: Array = found.eigenvalues[::-1]
    vectors: Array = found.eigenvectors[:, ::-1]
    falling = vectors.T @ np.arange(1.0, len(gram) + 1) < 0
    vectors = np.where(falling, -vectors, vectors)
    return Spectrum(np.sqrt(np.clip(values, 0.0, None)), vectors)


def explained_share(sigma: Array) -> Array:
    """share [T]: share[r-1] = sum(s_1^2..s_r^2) / sum(s^2). All ones where nothing moved."""
    energy = np.cumsum(sigma**2)
    return energy / energy[-1] if energy[-1] > 0 else np.ones_like(energy)


def cosine(gram: Array, left: Array, right: Array) -> float:
    """Cosine between two weighted sums of deltas, left^T M and right^T M; 0 where one of them is zero."""
    norms = np.sqrt(max(float(left @ gram @ left), 0.0) * max(float(right @ gram @ right), 0.0))
    return float(left @ gram @ right / norms) if norms > 0 else 0.0


def symmetric(lower: Array) -> Array:
    """The symmetric matrix with this lower triangle."""
    return np.tril(lower) + np.tril(lower, -1).T
