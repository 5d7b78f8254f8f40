"""Trainings unlike the committed one that the study looks at as well: each is a few changes of params.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relex.core.workspace import PARAMS
from relex.params.load import load
from relex.stages.base.params import EmbeddedBase
from relex.stages.train.params import Train

Changes = Mapping[str, Any]  # dotted key of params.yaml -> value

BENT: Changes = {"train.learning_rate": 2.0e-5, "base.source.pretraining.anneal": False}
ADAPTERS: Changes = {"train.lora": {"r": 8, "alpha": 16}, "train.learning_rate": 1.0e-4}
# Four times the parameters: more robust, the line of its updates bears longer horizons.
WIDE: Changes = {
    "base.source.hidden_size": 256,
    "base.source.intermediate_size": 512,
    "base.source.head_dim": 64,
    "base.source.pretraining.learning_rate": 1.5e-3,
    "train.learning_rate": 3.0e-6,
}
PLAIN: Changes = {"extrapolate.rays": "named", "extrapolate.variants": []}  # the section's own ray alone


def regimes() -> dict[str, Changes]:
    """By name, the trainings of which a first hop is looked at; those of the embedded base where that is the base."""
    params = load(PARAMS)
    found: dict[str, Changes] = {"as params.yaml has it": {}}
    if isinstance(params.train, Train):  # another trainer's rate is not ours to change
        rate = params.train.learning_rate
        found |= {f"rate {factor}x": {"train.learning_rate": factor * rate} for factor in (2, 5)}
    if isinstance(params.base.source, EmbeddedBase):
        found |= {"wide": WIDE, "bent": BENT, "adapters": ADAPTERS}
    return found
