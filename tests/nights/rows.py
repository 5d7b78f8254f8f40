"""Lines of a ledger for tests."""

from __future__ import annotations

from typing import Any

from relex.core.hop import Hop, Model, Training
from relex.ledger.lines import HopRow, NightRow, Right, Spent

SPENT = Spent(
    steps=12, rollouts=3072, tokens=30720, seconds={"train": 9.0, "evaluate": 51.0}, rows={"race": 500}, gpu_hours=0.1
)


def model(number: int) -> Model:
    return Model(version=str(number), model_sha256=f"{number:064d}")


def hop_row(hop: Hop, *, accepted: bool, champion: Model | None = None, **changes: Any) -> HopRow:
    """The line of a hop that spent SPENT."""
    facts: dict[str, Any] = {
        "campaign": hop.campaign,
        "night": hop.night,
        "hop": hop.hop,
        "when": "2026-11-28T00:00:00Z",
        "mode": hop.mode,
        "start": hop.start,
        "training": hop.training,
        "slice": hop.slice,
        "spent": SPENT,
        "total": SPENT,
        "accepted": accepted,
        "outcome": "promote-candidate" if accepted else "keep-champion",
        "sentence": "so it is",
        "step": 600 if accepted else None,
        "model": champion,
        "right": {"test": Right(value=0.7, low=0.6, high=0.8)},
        "before": {},
        "settings": "s",
    }
    return HopRow(**(facts | changes))


def night_row(night: int, *, promoted: bool, campaign: int = 1, **changes: Any) -> NightRow:
    """The line of a night of one hop."""
    facts: dict[str, Any] = {
        "campaign": campaign,
        "night": night,
        "hops": 1,
        "when": "2026-11-28T00:00:00Z",
        "why": "its hops are spent",
        "spent": SPENT,
        "total": SPENT,
        "promoted": promoted,
        "model": None,
        "right": {},
        "settings": "s",
    }
    return NightRow(**(facts | changes))


__all__ = ["SPENT", "Hop", "Training", "hop_row", "model", "night_row"]
