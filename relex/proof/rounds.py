"""The looks of a part of the proof: few problems first, then all of them, then more samples of each. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_UNBOUNDED = 1 << 20


@dataclass(frozen=True)
class Room:
    """What a suite can give. role: choose, gate, ood or test. samples: most of a problem that the proof may ask, 1
    where the sampling is greedy. reported: samples of a problem in the report."""

    name: str
    role: str
    problems: int
    samples: int
    reported: int

    @classmethod
    def read(cls, name: str, protocol: Mapping[str, Any]) -> Room:
        """Of a suite as metrics/evaluate.json describes it: role, problems, samples, temperature.

        Greedy answers are all alike: one is enough.
        """
        most = 1 if protocol["temperature"] == 0 else _UNBOUNDED
        return cls(name, protocol["role"], protocol["problems"], most, min(most, protocol["samples"]))


@dataclass(frozen=True)
class Look:
    """asked: (suite, its first problems, samples of each). share: of the part's rows asked by then, in (0, 1]."""

    asked: tuple[tuple[str, int, int], ...]
    share: float

    @property
    def size(self) -> tuple[int, int]:
        """Problems of all suites, most samples of one."""
        return sum(problems for _, problems, _ in self.asked), max(samples for _, _, samples in self.asked)


def looks(rooms: Sequence[Room], first: int, samples: int) -> tuple[Look, ...]:
    """The looks at the suites of one part, asked together: each about twice the rows of the one before.

    first: problems of the first look, of all suites together; each suite gives its share of them, one at least.
    samples: most of a problem. Problems come before samples: for a mean over problems, a new problem tells more than a
    new sample of an old one.
    """
    total = sum(room.problems for room in rooms)
    if not total:
        return ()
    counts = [min(first, total)]
    while counts[-1] < total:
        counts.append(min(2 * counts[-1], total))
    if len(counts) > 1 and counts[-1] < 1.5 * counts[-2]:  # a last step too small to be worth a look
        del counts[-2]
    most = min(samples, max(room.samples for room in rooms))
    sizes = [(count, 1) for count in counts]
    while sizes[-1][1] < most:
        sizes.append((total, min(2 * sizes[-1][1], most)))
    asked = [
        tuple((room.name, -(-room.problems * count // total), min(each, room.samples)) for room in rooms)
        for count, each in sizes
    ]
    asked = list(dict.fromkeys(asked))  # several small suites, each rounded up, may be all asked early
    rows = [rows_of(look) for look in asked]
    return tuple(Look(look, count / rows[-1]) for look, count in zip(asked, rows, strict=True))


def rows_of(asked: Iterable[tuple[str, int, int]]) -> int:
    """Rows of one model."""
    return sum(problems * samples for _, problems, samples in asked)
