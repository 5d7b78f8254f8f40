"""The section `extrapolate` of params.yaml."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationInfo, field_validator, model_validator

from relex.core.choices import Anchor, Device, Fit, Write
from relex.core.section import Positive, Section, Share
from relex.core.sizes import FLOAT32_BYTES
from relex.window.options import Options

Control = Literal["first-update", "mean-update", "random"]

AUTO_TARGETS = 5  # how many targets `auto` places at most
OTHER_RAYS = 2  # how many variants `rays: auto` sends to the race at most, beside the section's own ray


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
    kinds: dict[str, float] | Literal["fitted"] | None = None  # fitted: by diagnose, with extrapolate.rays auto
    soup: tuple[Positive, ...] | None = None  # one candidate, whatever the targets
    shrink: Share | None = None
    damped: bool | None = None

    def changes(self) -> dict[str, Any]:
        """The options that it names; sizes that are fitted are none yet."""
        named = {name: value for name, value in self.model_dump(exclude={"name"}).items() if value is not None}
        return {name: value for name, value in named.items() if value != "fitted"}


class Extrapolate(Options):
    """Stage extrapolate: from the window to candidate checkpoints. Its options: window/options.py."""

    targets: tuple[Positive, ...] | Literal["auto"]  # auto: around the horizon that diagnose's scan suggests
    rays: Literal["named", "auto"] = (
        "named"  # auto: of the variants the best of diagnose's scan, each at its own horizon
    )
    variants: tuple[Variant, ...] = ()
    controls: tuple[Control, ...] = ()  # for the same targets: they race, and are never promoted
    write: Write = "all"  # winner: the others are formed in the engine that races them
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
        """How many candidates there will be, at most, controls among them."""
        if self.soup:
            return 1 + len(self.variants) + len(self.controls)
        each = AUTO_TARGETS if self.targets == "auto" else len(self.targets)
        if self.rays == "auto":
            return each * (1 + len(self.controls) + min(OTHER_RAYS, len(self.variants)))
        return each * (1 + len(self.controls)) + sum(1 if variant.soup else each for variant in self.variants)

    @property
    def control_count(self) -> int:
        """How many of those are controls."""
        each = AUTO_TARGETS if self.targets == "auto" else len(self.targets)
        return (1 if self.soup else each) * len(self.controls)

    @property
    def scanned(self) -> dict[str, dict[str, Any]]:
        """The rays that diagnose's scan follows beside the section's own: by name what each changes of it."""
        if self.rays == "named":
            return {}
        return {
            one.name: one.changes() | ({"kinds": "fitted"} if one.kinds == "fitted" else {}) for one in self.variants
        }

    @property
    def fits(self) -> int:
        """How many rays have their step sizes fitted by diagnose."""
        return sum(one.kinds == "fitted" for one in self.variants) if self.rays == "auto" else 0

    def candidate_bytes(self, size: int, parameters: int) -> int:
        """What the candidates take at most, for a base of `size` bytes and so many parameters."""
        if self.write == "all":
            return size * self.target_count
        each = AUTO_TARGETS if self.targets == "auto" else len(self.targets)
        found = [self._ray_bytes(self, size, parameters, each)]
        found += [self._ray_bytes(self.of_variant(variant), size, parameters, each) for variant in self.variants]
        # An amplified update is one direction; a random one is not kept.
        found += [
            each * size if kind == "random" else min(FLOAT32_BYTES * parameters, each * size) for kind in self.controls
        ]
        return sum(found) + size  # the winner's file

    @staticmethod
    def _ray_bytes(one: Extrapolate, size: int, parameters: int, targets: int) -> int:
        count = 1 if one.soup else targets
        return (
            count * size if one.directions is None else min(FLOAT32_BYTES * parameters * one.directions, count * size)
        )

    def of_variant(self, variant: Variant) -> Extrapolate:
        """The section as the variant changes it."""
        return self.model_copy(update=variant.changes())

    @field_validator("variants")
    @classmethod
    def _distinct_names(cls, value: tuple[Variant, ...]) -> tuple[Variant, ...]:
        if len({variant.name for variant in value}) != len(value):
            raise ValueError(f"variants must have distinct names: {[variant.name for variant in value]}")
        if taken := [variant.name for variant in value if variant.name in get_args(Control)]:
            raise ValueError(f"a variant must not have the name of a control: {taken}")
        return value

    @field_validator("controls")
    @classmethod
    def _distinct_controls(cls, value: tuple[Control, ...]) -> tuple[Control, ...]:
        if len(set(value)) != len(value):
            raise ValueError(f"controls must be distinct: {list(value)}")
        return value

    @model_validator(mode="after")
    def _meant(self) -> Extrapolate:
        faults = [f"{option}: {what}, found {value}" for option, what, value in self.conflicts()]
        for variant in self.variants:
            if variant.kinds == "fitted" and self.rays != "auto":
                faults.append(f"variant {variant.name}: kinds: fitted takes rays: auto, whose scan fits them")
            changed = self.of_variant(variant)
            for option, what, value in (*changed.faults(), *changed.conflicts()):
                faults.append(f"variant {variant.name}: {option}: {what}, found {value}")
        if faults:
            raise ValueError("; ".join(faults))
        return self
