"""Controls in the race: models that a forecast should beat, and that are never promoted. Pure.

They decide nothing: who leads, who meets the gate and who is promoted is as if they were not there. What they cost is
rows, and what they give is a mark at every candidate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from relex.proof.answers import Answers, Source, gather
from relex.proof.paired import difference
from relex.proof.race import LEVEL
from relex.proof.rounds import Look


def undecided(leader: Answers, control: Answers, tolerance: float) -> bool:
    """Whether the leader is neither credibly better than the control nor credibly not better by over `tolerance`."""
    found = difference(leader, control, 0.0, LEVEL)
    return found.low <= 0 < found.high - tolerance


def beaten(
    source: Source, candidates: Iterable[str], controls: Iterable[str], seen: Mapping[str, Look]
) -> dict[str, bool]:
    """Which candidates are credibly better than every control, on what both were last asked; {} without controls.

    seen: name -> the last look that it was asked for.
    """
    against = [name for name in controls if name in seen]
    if not against:
        return {}

    def better(ours: str, theirs: str) -> bool:
        look = min(seen[ours], seen[theirs], key=lambda one: one.share)
        found = difference(gather(source, ours, look.asked), gather(source, theirs, look.asked), 0.0, LEVEL)
        return found.low > 0

    return {name: all(better(name, control) for control in against) for name in candidates}
