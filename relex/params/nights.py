"""The section `nights` of params.yaml: how much a night may spend, and where the next one begins."""

from __future__ import annotations

from typing import Literal

from relex.core.section import Positive, PositiveFloat, Section


class Tonight(Section):
    """What one night may spend, proof included; whichever ends first, looked at before each further hop.

    hops: at most so many. steps: optimiser steps. minutes: of all stages together. gpu_hours: of training.
    """

    hops: Positive
    steps: Positive | None = None
    minutes: PositiveFloat | None = None
    gpu_hours: PositiveFloat | None = None


class Campaign(Section):
    """What all nights from one base may spend; null: no limit."""

    nights: Positive | None = None
    steps: Positive | None = None


class Nights(Section):
    """Hops inside a night, nights inside a campaign.

    mode: where the next hop begins. auto: at the new champion once one was promoted (reground), else it lets the same
    training grow (continue). fresh: always at base.source. patience: nights without a promotion after which the
    campaign counts as ended, until params.yaml changes. commit: after each hop commit the nights' own files (dvc.lock,
    metrics/, hop.json, ledger and history) on the present branch, and nothing else, so that `git status` is clean.
    """

    mode: Literal["auto", "reground", "continue", "fresh"]
    budget: Tonight
    campaign: Campaign = Campaign()
    patience: Positive
    commit: bool = True
