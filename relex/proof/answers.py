"""What the models answered, as far as it was asked: counts a problem. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Marks:
    """Of one model on the first problems of a suite, samples a problem: how many were right, were cut off, or came
    from logits that are not numbers; each [n]."""

    right: Counts
    cut: Counts
    broken: Counts
    samples: int


class Source(Protocol):
    """Where the rows are that were asked for."""

    def marks(self, model: str, suite: str, problems: int, samples: int) -> Marks:
        """Of the first `problems` problems, the first `samples` samples each."""
        ...


@dataclass(frozen=True)
class Answers:
    """One model on the suites of one part, their problems side by side.

    right, cut, broken: shares of a problem's samples [n]. counts: right samples [n], in units of 1/samples: where the
    suites differ in samples a problem, their least common multiple keeps the counts whole and the weights equal.
    """

    right: Floats
    cut: Floats
    broken: Floats
    counts: Counts
    samples: int


def gather(source: Source, model: str, asked: Sequence[tuple[str, int, int]]) -> Answers:
    """asked: (suite, problems, samples)."""
    parts = [source.marks(model, *one) for one in asked]
    samples = int(np.lcm.reduce([part.samples for part in parts]))
    counts = np.concatenate([part.right * (samples // part.samples) for part in parts])
    return Answers(
        right=counts / samples,
        cut=np.concatenate([part.cut / part.samples for part in parts]),
        broken=np.concatenate([part.broken / part.samples for part in parts]),
        counts=counts,
        samples=samples,
    )
