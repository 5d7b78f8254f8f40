"""The section `retention` of params.yaml: what a project keeps of its nights."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from relex.core.section import Positive, Section
from relex.core.sizes import parse_size


class Retention(Section):
    """How much stays. A limit of null is none; without any the night prunes nothing.

    nights: the newest nights that stay whole. promoted: of how many promoted versions, the newest first, the inputs of
    a rebuild stay in DVC (`all`: of every version); the versions themselves always stay. disk: for all that a project
    keeps; where the nights need more, the oldest go before their time, the standing one never.
    """

    nights: Positive | None
    promoted: Literal["all"] | Positive
    disk: str | None

    @field_validator("disk")
    @classmethod
    def _a_size(cls, value: str | None) -> str | None:
        if value is not None:
            parse_size(value)
        return value

    @property
    def disk_bytes(self) -> int | None:
        """The limit in bytes, None for none."""
        return None if self.disk is None else parse_size(self.disk)

    @property
    def limits(self) -> bool:
        """Whether there is anything to hold to."""
        return self.nights is not None or self.promoted != "all" or self.disk is not None
