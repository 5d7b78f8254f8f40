"""The section `evaluate` of params.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from relex.core.section import Natural, Positive, PositiveFloat, Section, Wanted
from relex.stages.evaluate.suites import sampling
from relex.stages.evaluate.suites.params import SuiteParams


class Proof(Section):
    """How many problems and samples the proof may ask (relex/proof): no more of them than it needs."""

    first: Positive  # problems of the first look, of the race and of the gate
    race_samples: Positive  # most samples a choosing problem
    samples: Positive  # most samples a problem of the gate and of the guards

    @model_validator(mode="after")
    def _ordered(self) -> Proof:
        if self.race_samples > self.samples:
            raise ValueError(f"race_samples ({self.race_samples}) must not be above samples ({self.samples})")
        return self


class Budget(Section):
    """What the proof may cost at most; null: no such limit. share: times the training's rollouts."""

    rows: Positive | None
    share: PositiveFloat | None
    minutes: PositiveFloat | None


class Evaluate(Section):
    """Stage evaluate: one protocol for every model. samples to max_tokens hold for suites that do not set their own.

    A suite with temperature 0 has one sample a problem: all of them would be the same.
    """

    seed: Natural
    samples: Positive  # k of the report's avg@k
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
    cpu_kv_cache_gib: Positive = 1  # most key-value cache of one engine on a CPU; a GPU's is what its memory leaves
    reproducible: Wanted = False  # vLLM's batch-invariant kernels on a GPU: a row does not depend on those beside it
    gate_share: Annotated[float, Field(gt=0.0, lt=1.0)]  # share of validation kept for the gate
    proof: Proof
    budget: Budget
    report: Literal["winner", "all"]  # whose test and out-of-domain rows are complete: those a reader needs, or all

    @model_validator(mode="after")
    def _possible(self) -> Evaluate:
        errors = []
        if max(self.pass_k) > self.samples:
            errors.append(f"pass_k ({max(self.pass_k)}) must not exceed samples ({self.samples})")
        if self.report == "all" and not any(self.budget.model_dump().values()):
            errors.append(
                "report: all generates every suite of every model, which nothing bounds: "
                "give budget.rows, budget.share or budget.minutes"
            )
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
