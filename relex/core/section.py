"""What every section of params.yaml is made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(gt=0)]
Natural = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
PositiveFloat = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
# Left out of what is hashed and recorded where it is false: what was made before there was such a key stays what it is.
Wanted = Annotated[bool, Field(exclude_if=lambda wanted: not wanted)]


def _keeps_question(template: str) -> str:
    if "{question}" not in template:
        raise ValueError("the template drops the problem: it must contain {question}")
    return template


Template = Annotated[str, AfterValidator(_keeps_question)]  # of a prompt; {question} stands for the problem


class Section(BaseModel):
    """Frozen, no unknown keys, no silent conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
