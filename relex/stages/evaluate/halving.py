"""Successive halving: many candidates meet few problems first, so that the evaluation's cost is bounded. Pure.

Source: Jamieson and Talwalkar 2016, arXiv 1502.07943: each round spends about the same on half as many candidates.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Round:
    """candidates: how many play. batches: how many of each choosing suite's batches they have met after it."""

    candidates: int
    batches: int
    kept: int


def rounds(candidates: int, batches: int, keep: int) -> list[Round]:
    """The rounds that leave `keep` of `candidates`, on at most `batches` batches; none when there are no more.

    Each round doubles the batches, up to all, and drops the worse half, down to `keep`.
    """
    found = []
    played = 1
    while candidates > keep:
        kept = max(keep, (candidates + 1) // 2)
        found.append(Round(candidates, min(played, batches), kept))
        candidates, played = kept, 2 * played
    return found


def survivors(scores: dict[str, float], kept: int) -> list[str]:
    """The `kept` best names by score, ties by name; in the order of `scores`."""
    best = set(sorted(scores, key=lambda name: (-scores[name], name))[:kept])
    return [name for name in scores if name in best]
