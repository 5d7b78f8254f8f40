"""The section `extrapolate` of params.yaml."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from relex.core.choices import Anchor, Device, Fit, TensorKind
from relex.core.section import Positive, Section, Share
from relex.window.options import Options

AUTO_TARGETS = 5  # how many targets `auto` places at most


class Variant(Section):
    """More candidates for the same targets: what is named here differs from the section, the rest is as it says."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]  # candidates/step_<target>-<name>
    rank: Positive | Literal["full"] | None = None
    fit: Fit | None = None
    degree: Annotated[int, Field(ge=1, le=5)] | None = None
    first: Positive | None = None
    last: Positive | None = None
    anchor: Anchor | None = None
    anchor_mean: Positive | None = None
    only: str | None = None
    kinds: dict[TensorKind, float] | None = None
    soup: tuple[Positive, ...] | None = None  # one candidate, whatever the targets
    shrink: Share | None = None

    def changes(self) -> dict[str, Any]:
        """The options that it names."""
        return {name: value for name, value in self.model_dump(exclude={"name"}).items() if value is not None}


class Extrapolate(Options):
    """Stage extrapolate: from the window to candidate checkpoints. Its options: window/options.py."""

    targets: tuple[Positive, ...] | Literal["auto"]  # auto: around the horizon that diagnose's scan suggests
    variants: tuple[Variant, ...] = ()
    # A file that reproduces says these itself; the defaults of Options are for the command line.
    rank: Positive | Literal["full"]
    fit: Fit
    degree: Annotated[int, Field(ge=1, le=5)] = 2
    anchor: Anchor
    device: Device
    memory: str

    @field_validator("targets")
    @classmethod
    def _distinct(cls, value: tuple[int, ...] | str, info: ValidationInfo) -> tuple[int, ...] | str:
        if info.data.get("soup"):
            if value:
                raise ValueError("a soup has no targets: they must be []")
        elif not value or (value != "auto" and len(set(value)) != len(value)):
            raise ValueError(f"targets must be at least one, and distinct: {list(value)}")
        return value

    @property
    def target_count(self) -> int:
        """How many candidates there will be, at most."""
        if self.soup:
            return 1 + len(self.variants)
        each = AUTO_TARGETS if self.targets == "auto" else len(self.targets)
        return each + sum(1 if variant.soup else each for variant in self.variants)

    def of_variant(self, variant: Variant) -> Extrapolate:
        """The section as the variant changes it."""
        return self.model_copy(update=variant.changes())

    @field_validator("variants")
    @classmethod
    def _distinct_names(cls, value: tuple[Variant, ...]) -> tuple[Variant, ...]:
        if len({variant.name for variant in value}) != len(value):
            raise ValueError(f"variants must have distinct names: {[variant.name for variant in value]}")
        return value

    @model_validator(mode="after")
    def _meant(self) -> Extrapolate:
        faults = [f"{option}: {what}, found {value}" for option, what, value in self.conflicts()]
        for variant in self.variants:
            changed = self.of_variant(variant)
            for option, what, value in (*changed.faults(), *changed.conflicts()):
                faults.append(f"variant {variant.name}: {option}: {what}, found {value}")
        if faults:
            raise ValueError("; ".join(faults))
        return self
