"""The section `registry` of params.yaml; like `retention` one without a stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Protocol

from pydantic import Field

from relex.core.section import Section


class Registry(Section):
    """The MLflow registry: a database (sqlite:///mlflow.db) or a server (http://...).

    mode: `copy` uploads the weights; `reference` registers their DVC path and hash, and `relex fetch` resolves it.
    """

    tracking_uri: str
    experiment: str
    model: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w .-]*$")]
    mode: Literal["copy", "reference"] = "copy"


class Registered(Protocol):
    """Whatever names a registry: all of params.yaml, or that section alone."""

    @property
    def registry(self) -> Registry:
        """Where, and what the model is called there."""
        ...


@dataclass(frozen=True)
class Alone:
    """The section without the others."""

    registry: Registry
