"""The section `evaluate` of params.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from relex.core.section import Natural, Positive, Section
from relex.stages.evaluate.suites import sampling
from relex.stages.evaluate.suites.params import SuiteParams


class Halving(Section):
    """Successive halving on the choosing problems, when there are more than `above` candidates; `keep` are left."""

    above: Positive
    keep: Positive

    @model_validator(mode="after")
    def _ordered(self) -> Halving:
        if self.keep > self.above:
            raise ValueError(f"keep ({self.keep}) must not be above `above` ({self.above})")
        return self


class Evaluate(Section):
    """Stage evaluate: one protocol for every model. samples to max_tokens hold for suites that do not set their own."""

    seed: Natural
    samples: Positive  # k of avg@k
    pass_k: tuple[Positive, ...] = Field(min_length=1)
    temperature: Annotated[float, Field(ge=0.0)]
    top_p: Annotated[float, Field(gt=0.0, le=1.0)]
    max_tokens: Positive
    dtype: Literal["float32", "bfloat16", "float16"]
    max_model_len: Positive
    suites: tuple[SuiteParams, ...] = Field(min_length=1)
    confidence: Annotated[float, Field(gt=0.5, lt=1.0)]
    resamples: Annotated[int, Field(ge=100)]  # bootstrap samples of the metrics' intervals
    backend: Literal["vllm", "transformers"]
    reload: bool  # several checkpoints through one engine, where a fresh engine proves it exact
    engines: Positive  # engine processes at a time: one per GPU, or on a CPU one per core or so
    tensor_parallel: Positive = 1  # GPUs that one engine spreads a model over
    cpu_kv_cache_gib: Positive = 1  # key-value cache of one engine on a CPU; a GPU's is what its memory leaves
    problems_per_batch: Positive  # generated together; a kill loses only the completions under way
    gate_share: Annotated[float, Field(gt=0.0, lt=1.0)]  # share of validation kept for the gate
    halving: Halving

    @model_validator(mode="after")
    def _possible(self) -> Evaluate:
        errors = []
        if max(self.pass_k) > self.samples:
            errors.append(f"pass_k ({max(self.pass_k)}) must not exceed samples ({self.samples})")
        for suite in self.suites:
            errors.extend(sampling.faults(suite, sampling.resolve(suite, self), self.max_model_len))
        names = [suite.name for suite in self.suites]
        if len(set(names)) < len(names):
            errors.append(f"suites must have distinct names: {', '.join(names)}")
        if not any(suite.role == "validation" for suite in self.suites):
            errors.append("suites: none has the role validation, so nothing can be chosen or proven")
        if errors:
            raise ValueError("; ".join(errors))
        return self
