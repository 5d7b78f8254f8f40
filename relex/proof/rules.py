"""The rules of the proof: the section `decide` of params.yaml."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from relex.core.section import Section, Share

Level = Annotated[float, Field(gt=0.0, lt=0.5)]


class Rules(Section):
    """What must be proven, and how surely.

    alpha: share of nights without any gain above min_gain that may promote. min_gain: gain of the share of right
    samples over the last observed checkpoint and the champion that the gate must prove to be exceeded. max_ood_loss,
    ood_alpha: out of domain a loss of more than max_ood_loss passes in at most the share ood_alpha of nights.
    max_truncated: share of answers that may be cut off.
    """

    alpha: Level
    min_gain: Share
    max_ood_loss: Share
    ood_alpha: Level
    max_truncated: Share

    @property
    def fallback_level(self) -> float:
        """Of the last observed checkpoint's tests, met only where no candidate passed.

        Where both are no better than the champion, a candidate must beat two opponents with one set of answers, which
        leaves room for a second try at half the level: calibrated in docs/calibration.md.
        """
        return self.alpha / 2
