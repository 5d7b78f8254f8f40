"""The present hop: whether it is finished, and what it descends from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relex.core import hop as hops
from relex.core.digest import json_sha256
from relex.core.hop import Hop
from relex.ledger import lines as ledger
from relex.stages.train.params import Imported

if TYPE_CHECKING:
    from relex.params.load import Params

# Another try is worth while once one of these changed.
_SETTINGS = ("problems", "base", "train", "diagnose", "extrapolate", "evaluate", "decide", "nights")


def unfinished(params: Params) -> bool:
    """Whether hop.json names a hop of this campaign that the ledger has no line for yet."""
    hop = hops.read()
    return hop.of == campaign_of(params) and ledger.read().hop(hop) is None


def campaign_of(params: Params) -> str:
    """Hash of what may not change within a campaign: the base, the task's source, the model's name, and the run that
    another trainer writes."""
    return json_sha256(
        [
            params.base.source.model_dump(mode="json"),
            params.problems.source.model_dump(mode="json"),
            params.registry.model,
            *([params.train.run] if isinstance(params.train, Imported) else []),
        ]
    )


def settings_of(params: Params) -> str:
    """Hash of the sections that decide what a hop does."""
    return json_sha256({name: getattr(params, name).model_dump(mode="json") for name in _SETTINGS})


def told(hop: Hop) -> str:
    """The hop in words."""
    start = "base.source" if hop.start is None else f"version {hop.start.version}"
    begun = {"fresh": f"from {start}", "reground": f"from {start}", "continue": f"the training from {start} goes on"}
    if taken := hop.training.checkpoints:
        steps = f"{taken[0].step}..{taken[-1].step}"
        begun = dict.fromkeys(begun, f"{len(taken)} checkpoints of another trainer ({steps}), from {start}")
    champion = "no champion yet" if hop.champion is None else f"champion is version {hop.champion.version}"
    return f"campaign {hop.campaign}, night {hop.night}, hop {hop.hop}: {begun[hop.mode]}; {champion}"
