"""The section `base` of params.yaml: where theta_0 comes from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from relex.core.section import Natural, Positive, PositiveFloat, Section, Share


class Pretraining(Section):
    """How the embedded base is made: a corpus that mixes a right and a wrong procedure (ascending, descending)."""

    steps: Positive
    batch: Positive
    learning_rate: PositiveFloat
    warmup_steps: Natural
    weight_decay: Annotated[float, Field(ge=0.0)]
    lengths: tuple[Annotated[int, Field(ge=2, le=10)], Annotated[int, Field(ge=2, le=10)]]
    wrong_share_low: Share  # probability of the wrong procedure at first digit 0
    wrong_share_high: Share  # and at first digit 9; linear between
    token_noise: Share
    anneal: bool = True  # linear decay of the learning rate to 0; False keeps it constant

    @model_validator(mode="after")
    def _ordered(self) -> Pretraining:
        if self.lengths[0] > self.lengths[1]:
            raise ValueError("lengths must be [shortest, longest]")
        if self.warmup_steps >= self.steps:
            raise ValueError("warmup_steps must be below steps")
        return self


class EmbeddedBase(Section):
    """A tiny Qwen3 decoder that this stage pretrains on the sort-digits corpus."""

    kind: Literal["embedded"]
    seed: Natural
    hidden_size: Positive
    intermediate_size: Positive
    layers: Positive
    heads: Positive
    kv_heads: Positive
    head_dim: Positive
    initializer_range: PositiveFloat
    rope_theta: PositiveFloat
    pretraining: Pretraining

    @model_validator(mode="after")
    def _heads_group(self) -> EmbeddedBase:
        if self.heads % self.kv_heads:
            raise ValueError(f"heads ({self.heads}) must be a multiple of kv_heads ({self.kv_heads})")
        return self


class FolderBase(Section):
    """A Hugging Face checkpoint folder on this machine."""

    kind: Literal["folder"]
    path: str


class PackageBase(Section):
    """A model that an installed Python package carries as one GGUF file; written as a float32 checkpoint folder."""

    kind: Literal["package"]
    package: str
    version: str


class HubBase(Section):
    """A Hugging Face hub repository at a revision (a commit hash makes the night reproducible)."""

    kind: Literal["hub"]
    repo: str
    revision: str


class Base(Section):
    """Stage base: theta_0, the model RLVR starts from."""

    source: Annotated[EmbeddedBase | FolderBase | PackageBase | HubBase, Field(discriminator="kind")]
