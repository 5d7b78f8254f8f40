"""A training that had nothing to learn from: in every group of a step all completions had the same reward. Pure.

GRPO learns from the differences within a group. Where there are none the advantages are zero, and the weights stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Row = Mapping[str, float]  # of a step: reward, share_without_signal, share_truncated
FIRST = 5  # steps after which a run without any signal is worth a warning
_MANY = 0.5  # share of completions cut off from which that is what to mend first
_RIGHT = 0.5  # mean reward above which groups are alike because they are all right


def at_first(rows: Sequence[Row], steps: int = FIRST) -> str | None:
    """A warning when the first steps had nothing to learn from: every group's rewards were all equal."""
    first = rows[:steps]
    if len(first) < steps or any(row["share_without_signal"] < 1.0 for row in first):
        return None
    reward = sum(row["reward"] for row in first) / steps
    why = (
        "all right: the problems are too easy for this base"
        if reward > _RIGHT
        else "all wrong: the problems are too hard, the prompt does not ask for the form that the scorer reads, or "
        "completions are cut off"
    )
    cut = sum(row["share_truncated"] for row in first) / steps
    return (
        f"no group of the first {steps} steps had a signal (reward {reward:.2f}, {cut:.0%} of completions cut off at "
        f"the limit); nothing is learnt where a group's rewards are equal. They are {why}"
    )


def throughout(rows: Sequence[Row], limit: int) -> str | None:
    """What to say of a whole run that had no signal in any step, and what to do; None for one that had some.

    limit: of a completion's tokens (train.max_completion_length).
    """
    if not rows or any(row["share_without_signal"] < 1.0 for row in rows):
        return None
    rewards = [row["reward"] for row in rows]
    reward, cut = sum(rewards) / len(rows), sum(row["share_truncated"] for row in rows) / len(rows)
    said = f"{reward:.2f}" if min(rewards) == max(rewards) else f"{min(rewards):.2f} to {max(rewards):.2f}"
    truncated = f"{cut:.0%} of the answers were cut off at {limit} tokens"
    if reward > _RIGHT:
        why = f"the problems are too easy for this base ({truncated}): take harder ones"
    elif cut >= _MANY:
        why = f"{truncated}: raise train.max_completion_length, or take problems with shorter answers"
    else:
        why = (
            f"the problems are too hard for this base, or the prompt does not ask for the form that the scorer reads "
            f"({truncated}): take easier problems, or correct problems.template or the scorer"
        )
    return (
        f"no signal: reward was {said} in every one of {len(rows)} steps, the same within each group, so there was "
        f"nothing to learn from; {why}"
    )
