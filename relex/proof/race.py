"""The race of the candidates on the choosing problems. Pure: what a look shows, and who leaves after it.

The race costs no level: the gate's problems are others. It is there to spend few rows on what is clearly worse, and
after a while on what is not among the best: rows that tell many nearly equal candidates apart buy next to nothing.
Sequential halving, Karnin, Koren and Somekh 2013, Almost Optimal Exploration in Multi-Armed Bandits; here from the
second look, and the last two race to the end.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from relex.proof.answers import Answers
from relex.proof.paired import difference, share
from relex.proof.rounds import Look, rows_of

LEVEL = 0.05  # one-sided, of each comparison at each look
RUNNER_UP = 0.02  # of the candidate next to the best one: what chance sends home there, no third makes up for
HALVED = 2  # after so many looks, and after each later one, the worse half of the candidates leaves
_FINAL = 2  # but these many stay


@dataclass(frozen=True)
class Racers:
    """How many race beside the last observed checkpoint."""

    candidates: int
    controls: int = 0


@dataclass(frozen=True)
class Standing:
    """A model as its last look showed it. left: number of the look after which it left, from 1; None: it stayed."""

    share: float
    low: float
    high: float
    problems: int
    samples: int
    left: int | None = None


def behind(answers: Mapping[str, Answers], candidates: Collection[str] = ()) -> set[str]:
    """Those credibly worse than the best one. Where that is one of the candidates, the next of these leaves at the
    level RUNNER_UP; where it is not, none of them is worth more."""
    best, *others = sorted(answers, key=lambda name: -float(answers[name].right.mean()))
    levels = dict.fromkeys(others, LEVEL)
    if best in candidates:
        levels |= dict.fromkeys([name for name in others if name in candidates][:1], RUNNER_UP)
    return {name for name, level in levels.items() if difference(answers[best], answers[name], 0.0, level).low > 0}


def better_half(answers: Mapping[str, Answers]) -> set[str]:
    """Of n models the halved(n) with the most right; of equals those named first."""
    ordered = sorted(answers, key=lambda name: -float(answers[name].right.mean()))
    return set(ordered[: halved(len(ordered))])


def halved(count: int) -> int:
    """How many of so many candidates go on."""
    return max(min(count, _FINAL), (count + 1) // 2)


def most_raced(played: Sequence[Look], racers: Racers) -> int:
    """Rows that a race of these looks takes at most, where nobody is credibly worse: the last observed checkpoint and
    the controls go through all of it."""
    rows = [rows_of(look.asked) for look in played]
    total, racing = 0, racers.candidates
    for number, (now, before) in enumerate(zip(rows, [0, *rows], strict=False), 1):
        total += (now - before) * (racing + 1 + racers.controls)
        if number >= HALVED:
            racing = halved(racing)
    return total


def equivalent(answers: Mapping[str, Answers], tolerance: float) -> bool:
    """Whether no model is better than another by more than `tolerance`, credibly."""
    best = max(answers, key=lambda name: float(answers[name].right.mean()))
    return all(
        difference(answers[best], found, 0.0, LEVEL).high <= tolerance
        for name, found in answers.items()
        if name != best
    )


def standing(answers: Answers, problems: int, samples: int) -> Standing:
    """Share of right samples with its interval of 1 - 2 LEVEL."""
    found = share(answers, LEVEL)
    return Standing(found.gain, found.low, found.high, problems, samples)
