"""How long an answer may be, from what the base wrote when it was let write on. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# Rollouts cost by the token, and RLVR itself teaches answers to end within what they are cut at: most of what is right
# at the longest must still be right, not all.
_KEPT = 0.75


@dataclass(frozen=True)
class Cut:
    """Answers cut after `tokens`: the share that was right so, and the share that had not ended by then."""

    tokens: int
    right: float
    cut_off: float


def lengths(shortest: int, longest: int) -> tuple[int, ...]:
    """From `shortest` to `longest` tokens, each about half as long again as the last; both ends are among them."""
    found = [shortest]
    while found[-1] < longest:
        found.append(min(longest, max(found[-1] + 1, -(-found[-1] * 3 // 2 // 4) * 4)))
    return tuple(found)


def proposed(cuts: Sequence[Cut], max_truncated: float) -> Cut:
    """The shortest that fits; the longest, where none does. cuts: by length, at least one."""
    return next((cut for cut in cuts if fits(cut, cuts[-1], max_truncated)), cuts[-1])


def fits(cut: Cut, longest: Cut, max_truncated: float) -> bool:
    """Whether most of what is right at the longest is right at `cut`, too, and no more answers are cut off than the
    proof lets pass."""
    return cut.right >= _KEPT * longest.right and cut.cut_off <= max_truncated
