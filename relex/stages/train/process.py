"""One training process: the model, TRL's trainer and the callbacks; resumed from the last complete state.

With several processes (train.accelerate) every one of them runs this; only the main one writes.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import torch
from accelerate import PartialState
from datasets import Dataset
from threadpoolctl import threadpool_limits
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback, TrainerCallback
from transformers.utils.logging import disable_progress_bar

from relex.core.asking import Asking
from relex.core.atomic import write_json
from relex.core.errors import StageFailed
from relex.core.topology import has_cuda
from relex.core.workspace import BASE, TRAJECTORY
from relex.policy.prompts import render
from relex.rewards.problem import Problem
from relex.rewards.score import FormatBonus, VerifiableReward
from relex.stages.train import state as train_state
from relex.stages.train.budget import BudgetStop, Clock
from relex.stages.train.capture import Capture
from relex.stages.train.config import configuration
from relex.stages.train.deltas import (
    FullWeights,
    LoraWeights,
    ShardedLoraWeights,
    ShardedWeights,
    Source,
    is_sharded,
)
from relex.stages.train.meter import Meter
from relex.stages.train.params import Lora, Train
from relex.stages.train.server_gpus import server_gpus
from relex.stages.train.state import TrainState
from relex.stages.train.step_log import StepLog
from relex.stages.train.step_stream import StepStream
from relex.stages.train.trainer import Trainer
from relex.trajectory.step_queue import StepQueue
from relex.trajectory.writer import TrajectoryWriter


def train_process(train: Train, asking: Asking, problems: list[Problem], before: int = 0) -> None:
    """Train on `problems` until the budget or the observation ends; writes trajectory/, the stream of steps and
    train_state.RESULT.

    StageFailed when the run diverges or memory runs out; the window up to there stays in trajectory/.
    """
    clock = Clock()
    process = PartialState(cpu=not has_cuda())
    _know_numbered_processors()
    disable_progress_bar()  # of files: a bar of our own shows the steps
    if train.threads:
        torch.set_num_threads(train.threads)
        threadpool_limits(train.threads)  # NumPy's, whose idle threads spin beside so small a model
    trainer = make_trainer(train, asking, problems, process.num_processes, before)
    source = weights_of(trainer, train)
    writer, of = None, ""
    if process.is_main_process:  # it alone reads the whole base for its hash
        identity = train_state.identity(train, asking, before)
        of = train_state.stamp(identity, process.num_processes)
        writer = TrajectoryWriter(TRAJECTORY, base=BASE, codec=train.codec, identity=identity, only=source.names)
        state = train_state.newest(of, writer.steps, train.window.steps)
        writer.truncate(state.step if state else 0)
    process.wait_for_everyone()
    if not process.is_main_process:
        state = train_state.current()
    try:
        _train(trainer, train, source, state, writer, of, clock)
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _out_of_memory(error) from error
    except RuntimeError as error:
        if "can't allocate memory" in str(error) or "out of memory" in str(error):
            raise _out_of_memory(error) from error
        raise


@cache
def _know_numbered_processors() -> None:
    """accelerate numbers the processor of each of several processes (cpu:1), and the trainer loads a state onto it, but
    torch.load knows a processor without a number only. Once a process: torch cannot sort two of a priority."""
    torch.serialization.register_package(
        100, lambda storage: None, lambda storage, place: storage if place.startswith("cpu:") else None
    )


def make_trainer(train: Train, asking: Asking, problems: list[Problem], processes: int, before: int = 0) -> Trainer:
    """TRL's trainer over the base, in float32, for these problems; no callback of its own that prints.

    before: steps that the campaign took before this training.
    """
    tokenizer = AutoTokenizer.from_pretrained(BASE, padding_side="left")
    prompts = [render(tokenizer, problem.prompt, asking) for problem in problems]
    longest = max(len(ids) for ids in tokenizer(prompts)["input_ids"])
    # Before the model: under ZeRO-3 it is what makes loading spread the weights, not a whole copy in every process.
    arguments = configuration(train, processes=processes, cuda=has_cuda(), longest=longest)
    model = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
    rewards: list[Any] = [VerifiableReward()]
    if train.format is not None:
        rewards.append(FormatBonus(train.format.pattern))
    trainer = Trainer(
        model=model,
        processing_class=tokenizer,
        reward_funcs=rewards,
        args=arguments,
        train_dataset=as_dataset(problems, prompts),
        peft_config=None if train.lora is None else adapters(train.lora, train.seed),
        steps_before=before,
    )
    for flood in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(flood)
    return trainer


def _train(
    trainer: Trainer,
    train: Train,
    source: Source,
    state: TrainState | None,
    writer: TrajectoryWriter | None,
    of: str,
    clock: Clock,
) -> None:
    """writer: on the main process. Every process takes every turn of this together with the others."""
    clock.add(state.seconds if state else 0.0)
    queue, meter = (StepQueue(writer), Meter()) if writer else (None, None)
    capture = Capture(source, train.window, queue=queue, meter=meter, stop_when=train.stop_when)
    processes = trainer.accelerator.num_processes
    gpus = gpus_of(train, processes) if writer else processes
    budget = BudgetStop(train.budget, clock, capture, trainer.accelerator, gpus=gpus)
    callbacks: list[TrainerCallback] = [capture, budget]
    log = None
    if writer:
        stream = StepStream(after=state.step if state else 0)
        completions = train.prompts_per_step * train.num_generations
        log = StepLog(train.budget.steps, completions, trainer.take_seconds, capture, stream)
        callbacks.append(log)
        if state is not None:
            for step, row in zip(state.captured, state.sketches, strict=True):
                capture.restore(step, row)
            budget.restore([row["seconds"] for row in log.seconds])
    callbacks.append(_Keeper(trainer, of, clock, queue, meter, log))
    for callback in callbacks:
        trainer.add_callback(callback)
    try:
        if (state is None or state.step < train.budget.steps) and not budget.ended_before():
            trainer.train(resume_from_checkpoint=str(state.folder) if state else None)
        if queue:
            queue.close()
    finally:
        if log:
            log.close()
    if writer:
        reason = "time" if budget.expired else "skill" if capture.observed_enough else "steps"
        before = state.seconds if state else 0.0
        facts = {"seconds": clock.seconds, "before": before, "processes": processes, "gpus": gpus, "ended": reason}
        write_json(train_state.RESULT, facts)


class _Keeper(TrainerCallback):
    """Marks a state that the trainer has written complete, after what it relies on is on disk."""

    def __init__(
        self,
        trainer: Trainer,
        of: str,
        clock: Clock,
        queue: StepQueue | None,
        meter: Meter | None,
        log: StepLog | None,
    ):
        self._trainer, self._of, self._clock = trainer, of, clock
        self._queue, self._meter, self._log = queue, meter, log

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._trainer.accelerator.wait_for_everyone()  # every process writes its random states
        if self._queue and self._meter and self._log:
            self._queue.flush()
            self._log.sync()
            train_state.complete(
                state.global_step,
                of=self._of,
                seconds=self._clock.seconds,
                captured=self._meter.steps,
                sketches=self._meter.sketches,
            )
        self._trainer.accelerator.wait_for_everyone()


def weights_of(trainer: Trainer, train: Train) -> Source:
    """Where the deltas come from; asked before training begins, while the weights are the base's."""
    model, sharded = trainer.accelerator.unwrap_model(trainer.model), is_sharded(trainer.accelerator)
    if train.lora is not None:
        return ShardedLoraWeights(model, trainer.accelerator) if sharded else LoraWeights(model)
    if sharded:
        return ShardedWeights(lambda: trainer.model_wrapped, trainer.accelerator, BASE)
    return FullWeights(model)


def gpus_of(train: Train, processes: int) -> int:
    """GPUs that a training takes while it runs: one a process, and those of a vLLM server."""
    generation = train.generation
    if generation.backend == "vllm" and generation.mode == "server" and generation.server_url is not None:
        return processes + server_gpus(generation.server_url)
    return processes


def _out_of_memory(error: BaseException) -> StageFailed:
    return StageFailed(
        f"out of memory in training: {' '.join(str(error).split())[:200]}; lower train.per_device_train_batch_size "
        "first (a step's result stays the same), then train.max_completion_length; on a GPU also "
        "train.generation.gpu_memory_utilization, or set train.gradient_checkpointing; the window so far is kept"
    )


def as_dataset(problems: list[Problem], prompts: list[str]) -> Dataset:
    """The columns that TRL passes to the reward; entry travels as JSON, since Arrow wants one schema for all rows."""
    return Dataset.from_list(
        [
            {
                "prompt": prompt,
                "answer": problem.answer,
                "scorer": problem.scorer,
                "entry": None if problem.entry is None else json.dumps(problem.entry),
            }
            for problem, prompt in zip(problems, prompts, strict=True)
        ]
    )


def adapters(lora: Lora, seed: int) -> Any:
    """peft's configuration; the adapters begin as no change at all."""
    from peft import LoraConfig

    torch.manual_seed(seed)
    targets = lora.target_modules if isinstance(lora.target_modules, str) else list(lora.target_modules)
    return LoraConfig(
        r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets, task_type="CAUSAL_LM"
    )
