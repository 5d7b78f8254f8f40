"""The section `decide` of params.yaml."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from relex.core.section import Positive, Section, Share


class Decide(Section):
    """Stage decide: choose on one fixed part of validation, gate on the other."""

    alpha: Annotated[float, Field(gt=0.0, lt=0.5)]
    min_gain: Share  # avg@k gain over the last observed checkpoint and the champion
    max_ood_loss: Share
    max_truncated: Share
    finalists: Positive  # how many of the best candidates on the choosing part may meet the gate
    resamples: Annotated[int, Field(ge=100)]
