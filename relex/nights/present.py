"""The present hop: whether it is finished, and what it descends from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relex.core import hop as hops
from relex.core.digest import json_sha256
from relex.core.hop import Hop
from relex.ledger import lines as ledger

if TYPE_CHECKING:
    from relex.params.load import Params

# Another try is worth while once one of these changed.
_SETTINGS = ("problems", "base", "train", "diagnose", "extrapolate", "evaluate", "decide", "nights")


def unfinished() -> bool:
    """Whether hop.json names a hop that the ledger has no line for yet."""
    return ledger.read().hop(hops.read()) is None


def campaign_of(params: Params) -> str:
    """Hash of what may not change within a campaign: the base, the task's source, and the model's name."""
    return json_sha256(
        [
            params.base.source.model_dump(mode="json"),
            params.problems.source.model_dump(mode="json"),
            params.registry.model,
        ]
    )


def settings_of(params: Params) -> str:
    """Hash of the sections that decide what a hop does."""
    return json_sha256({name: getattr(params, name).model_dump(mode="json") for name in _SETTINGS})


def told(hop: Hop) -> str:
    """The hop in words."""
    start = "base.source" if hop.start is None else f"version {hop.start.version}"
    begun = {"fresh": f"from {start}", "reground": f"from {start}", "continue": f"the training from {start} goes on"}
    champion = "no champion yet" if hop.champion is None else f"champion is version {hop.champion.version}"
    return f"campaign {hop.campaign}, night {hop.night}, hop {hop.hop}: {begun[hop.mode]}; {champion}"
