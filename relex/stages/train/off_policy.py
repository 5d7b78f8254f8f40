"""Rollouts that an engine sampled otherwise than the training would have: how many the loss leaves out. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_MUCH = 0.1  # share of the rollouts


def dropped(rows: Sequence[Mapping[str, float]]) -> str | None:
    """A warning when TRL left much of what vLLM wrote out of the loss. rows: of the steps, share_dropped among them
    where vLLM wrote the rollouts; None where little was left out, or nothing is known of it."""
    shares = [row["share_dropped"] for row in rows if "share_dropped" in row]
    share = sum(shares) / len(shares) if shares else 0.0
    if share < _MUCH:
        return None
    return (
        f"{share:.0%} of the rollouts were left out of the loss: the training finds them more than three times as "
        "likely as vLLM did that wrote them. Its arithmetic is narrower, and the difference grows with the length: set "
        "train.bf16: true, lower train.max_completion_length, or take train.generation.backend: transformers"
    )
