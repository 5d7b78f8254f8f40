"""TRL's configuration for the section `train`."""

from __future__ import annotations

from trl import GRPOConfig

from relex.core.errors import InputError
from relex.stages.train.params import Train
from relex.stages.train.state import FOLDER


def configuration(train: Train, *, processes: int, cuda: bool, longest: int) -> GRPOConfig:
    """Fully on-policy: one generation and one update a step, of prompts_per_step x num_generations completions over
    all processes. longest: tokens of the longest prompt.

    InputError when they do not divide, or for settings that need a GPU where there is none.
    """
    batch = train.prompts_per_step * train.num_generations
    share = train.per_device_train_batch_size * processes
    if batch % share:
        raise InputError(
            "a step's completions do not divide among the processes",
            where="train.per_device_train_batch_size",
            expected=f"a divisor of {batch} / {processes} processes",
            found=train.per_device_train_batch_size,
        )
    generation = train.generation
    if not cuda and (generation.backend == "vllm" or train.bf16):
        raise InputError(
            "needs a GPU",
            where="train.generation.backend" if generation.backend == "vllm" else "train.bf16",
            expected="transformers, and bf16: false, on a machine without CUDA",
            found="vllm" if generation.backend == "vllm" else "bf16: true",
        )
    return GRPOConfig(
        output_dir=str(FOLDER),
        seed=train.seed,
        max_steps=train.budget.steps,
        learning_rate=train.learning_rate,
        lr_scheduler_type=train.lr_scheduler_type,
        warmup_steps=train.warmup_steps,
        optim=train.optim,
        adam_beta1=train.adam_beta1,
        adam_beta2=train.adam_beta2,
        adam_epsilon=train.adam_epsilon,
        weight_decay=train.weight_decay,
        max_grad_norm=train.max_grad_norm,
        per_device_train_batch_size=train.per_device_train_batch_size,
        gradient_accumulation_steps=batch // share,
        num_generations=train.num_generations,
        temperature=train.temperature,
        top_p=train.top_p,
        top_k=train.top_k,
        repetition_penalty=train.repetition_penalty,
        max_completion_length=train.max_completion_length,
        mask_truncated_completions=train.mask_truncated_completions,
        beta=train.beta,
        epsilon=train.epsilon,
        epsilon_high=train.epsilon_high,
        loss_type=train.loss_type,
        scale_rewards=train.scale_rewards,
        entropy_coef=train.entropy_coef,
        top_entropy_quantile=train.top_entropy_quantile,
        reward_weights=None if train.format is None else [1.0, train.format.weight],
        # The weights are float32 whatever the arithmetic is: the deltas are taken from them. TRL's own defaults are
        # bfloat16 and checkpointing, which are slower than this on a CPU.
        bf16=train.bf16,
        gradient_checkpointing=train.gradient_checkpointing,
        use_cpu=not cuda,
        use_vllm=generation.backend == "vllm",
        vllm_mode=generation.mode,
        vllm_server_base_url=generation.server_url,
        vllm_gpu_memory_utilization=generation.gpu_memory_utilization,
        # Else an engine must have room for one text as long as the base's whole context: 32,768 tokens for Qwen3.
        vllm_max_model_length=longest + train.max_completion_length,
        vllm_tensor_parallel_size=generation.tensor_parallel,
        logging_steps=1,
        logging_nan_inf_filter=False,  # a loss that is not a number ends the run instead of being hidden
        save_strategy="steps",
        save_steps=train.state_every,
        report_to="none",
        disable_tqdm=True,
        ddp_find_unused_parameters=False,
    )
