"""What every part of a metrics file has in common, as the report reads it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Number = Annotated[float, Field(allow_inf_nan=False)]


class Facts(BaseModel):
    """Part of a metrics file; keys that the page does not show are left alone."""

    model_config = ConfigDict(frozen=True, extra="ignore")
