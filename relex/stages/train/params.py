"""The section `train` of params.yaml: RLVR with TRL's GRPOTrainer, under TRL's own names; or another's run."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from relex.core.choices import Codec
from relex.core.section import Natural, Positive, PositiveFloat, Section, Share, Wanted


class Window(Section):
    """The observed optimiser steps first, first + every, ..., last; step 0 is the base itself."""

    first: Positive
    last: Positive
    every: Positive

    @model_validator(mode="after")
    def _ordered(self) -> Window:
        if len(self.steps) < 2:
            raise ValueError(
                f"the window needs at least two steps; first {self.first}, last {self.last}, every {self.every}"
            )
        if self.steps[-1] != self.last:
            raise ValueError(f"last ({self.last}) must be first + a multiple of every ({self.every})")
        return self

    @property
    def steps(self) -> tuple[int, ...]:
        return tuple(range(self.first, self.last + 1, self.every))


class Budget(Section):
    """What training may spend; whichever ends first. Time counts from the start of training, over all restarts."""

    steps: Positive  # optimiser steps
    minutes: PositiveFloat | None = None  # of wall time
    gpu_hours: PositiveFloat | None = None  # wall hours x (processes that train + GPUs of a vLLM server)


class Completions(Section):
    """Completions sampled from the last observed checkpoint on held-out prompts, for the likelihood scan."""

    prompts: Positive
    samples: Positive


class Generation(Section):
    """What writes the rollouts. vllm: TRL's own modes, on GPUs; colocate shares them, server is one started apart."""

    backend: Literal["transformers", "vllm"] = "transformers"
    mode: Literal["colocate", "server"] = "colocate"
    server_url: str | None = None
    gpu_memory_utilization: Annotated[float, Field(gt=0.0, le=1.0)] = 0.3
    tensor_parallel: Positive = 1

    @model_validator(mode="after")
    def _whole(self) -> Generation:
        if (self.backend, self.mode) == ("vllm", "server") and self.server_url is None:
            raise ValueError("mode server needs server_url, where `trl vllm-serve` listens")
        return self


class Lora(Section):
    """Low-rank adapters instead of full fine-tuning; what is captured is the change of the weights that they make."""

    r: Positive
    alpha: Positive
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    target_modules: Literal["all-linear"] | tuple[str, ...] = "all-linear"


class Format(Section):
    """A bonus for completions that match a regular expression, beside the reward for the right answer."""

    pattern: Annotated[str, Field(min_length=1)]
    weight: PositiveFloat

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return value


class StopWhen(Section):
    """End observation once the forecast meter's backtest skill has been at least `skill` for `steps` captured steps."""

    skill: Annotated[float, Field(lt=1.0)]
    steps: Positive


class Sampled(Section):
    """How the completions for the likelihood scan are drawn, whoever trains."""

    seed: Natural
    temperature: PositiveFloat
    max_completion_length: Positive
    completions: Completions


class Train(Sampled):
    """Stage train. Fully on-policy: one generation and one update a step."""

    kind: Literal["grpo"] = "grpo"
    budget: Budget
    learning_rate: PositiveFloat
    lr_scheduler_type: Literal["constant_with_warmup", "linear", "cosine"] = "constant_with_warmup"
    warmup_steps: Natural
    optim: Literal["adamw_torch", "adamw_torch_fused", "adafactor", "sgd"] = "adamw_torch"
    adam_beta1: Share
    adam_beta2: Share
    adam_epsilon: PositiveFloat = 1e-8
    weight_decay: Annotated[float, Field(ge=0.0)]
    max_grad_norm: PositiveFloat
    prompts_per_step: Positive
    num_generations: Annotated[int, Field(ge=2)]
    per_device_train_batch_size: Positive  # counts completions, as TRL does
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    top_k: Natural = 0  # 0: all tokens
    repetition_penalty: PositiveFloat = 1.0
    mask_truncated_completions: bool = False  # completions cut off at the limit do not count in the loss
    beta: Annotated[float, Field(ge=0.0)]  # weight of the KL term
    epsilon: PositiveFloat  # clip
    epsilon_high: PositiveFloat | None = None  # upper clip, where it differs
    loss_type: Literal["grpo", "bnpo", "dr_grpo", "dapo"]
    scale_rewards: Literal["group", "batch", "none"]
    entropy_coef: float = 0.0
    top_entropy_quantile: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0  # only these tokens are trained on
    format: Format | None = None
    lora: Lora | None = None
    bf16: bool = False  # arithmetic in bfloat16 on GPUs; the weights stay float32
    gradient_checkpointing: bool = False
    generation: Generation = Generation()
    accelerate: str | None = None  # an accelerate configuration file: several processes or GPUs
    threads: Natural  # of torch on a CPU; 0: one per core
    reproducible: Wanted = False  # deterministic kernels, which are slower; docs/gpu.md says what that promises
    window: Window
    codec: Codec
    state_every: Positive = 5  # steps between states that an interrupted run goes on from
    stop_when: StopWhen | None = None

    @property
    def rollouts(self) -> int:
        """The most completions that it trains on."""
        return self.budget.steps * self.prompts_per_step * self.num_generations

    @model_validator(mode="after")
    def _divides(self) -> Train:
        errors = []
        if self.window.last > self.budget.steps:
            errors.append(f"window.last ({self.window.last}) must not be beyond budget.steps ({self.budget.steps})")
        batch = self.prompts_per_step * self.num_generations
        if batch % self.per_device_train_batch_size:
            errors.append(
                f"per_device_train_batch_size ({self.per_device_train_batch_size}) must divide "
                f"prompts_per_step * num_generations ({batch})"
            )
        if self.epsilon_high is not None and self.epsilon_high < self.epsilon:
            errors.append(f"epsilon_high ({self.epsilon_high}) must not be below epsilon ({self.epsilon})")
        if self.lr_scheduler_type != "constant_with_warmup" and self.warmup_steps >= self.budget.steps:
            errors.append(f"warmup_steps ({self.warmup_steps}) must be below budget.steps ({self.budget.steps})")
        if errors:
            raise ValueError("; ".join(errors))
        return self


class Imported(Sampled):
    """Nothing is trained here: a night takes the full checkpoints that another trainer has written into `run`.

    run: its folder, in one of the layouts of trajectory/layouts.py. window: so many of the last checkpoints, null: all.
    settled: seconds without a change after which a checkpoint that its trainer does not mark as complete counts as it.
    """

    kind: Literal["import"]
    run: Annotated[str, Field(min_length=1)]
    window: Annotated[int, Field(ge=2)] | None = None
    settled: PositiveFloat = 300.0

    @property
    def rollouts(self) -> int:
        """None that are known: the other trainer has them."""
        return 0


def _kind(section: Any) -> Any:
    """Of a section as the file has it, or as it was read; left out, it is what this project trains itself."""
    return section.get("kind", "grpo") if isinstance(section, dict) else getattr(section, "kind", "grpo")


AnyTrain = Annotated[
    Annotated[Train, Tag("grpo")] | Annotated[Imported, Tag("import")],
    Discriminator(
        _kind,
        custom_error_type="kind",
        custom_error_message="kind must be grpo (or left out) or import",
    ),
]
