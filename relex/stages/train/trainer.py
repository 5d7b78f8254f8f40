"""TRL's GRPOTrainer with what a night needs besides: an order of data and rollouts that survive an interruption and do
not depend on the number of processes, seconds by part of a step, and an end before numbers that are not finite."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import torch
from accelerate.utils import DistributedType
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.utils.data import Sampler
from transformers import LogitsProcessorList, TrainerState
from trl import GRPOTrainer

from relex.core.errors import StageFailed
from relex.core.seeding import seed_of
from relex.policy.seeded_sampling import Place, SeededSampling
from relex.stages.train.seeded_rollouts import seed_engine, seed_server


class EpochSampler(Sampler[int]):
    """Every prompt num_generations times in a row, in an order drawn from (seed, epoch); incomplete steps are left out.

    TRL's own sampler draws each order after the one before, so a resumed run would replay the first epoch's.
    """

    def __init__(
        self, prompts: int, prompts_per_step: int, repeats: int, seed: int, passes: int, state: Any, before: int = 0
    ):
        """repeats: num_generations; passes: how often a step's batch is handed out; state: called when an epoch
        begins, gives the trainer's state, which knows where the run is; before: steps that were taken in this order
        before this training began."""
        self._prompts, self._per_step, self._repeats = prompts, prompts_per_step, repeats
        self._seed, self._passes, self._state, self._before = seed, passes, state, before

    @property
    def steps_per_epoch(self) -> int:
        return self._prompts // self._per_step

    def __len__(self) -> int:
        return self.steps_per_epoch * self._per_step * self._repeats * self._passes

    def __iter__(self) -> Iterator[int]:
        trainer_state: TrainerState = self._state()
        steps = self.steps_per_epoch
        # The trainer's epochs begin with its own first step, the order's with the campaign's.
        first = self._before + trainer_state.global_step // steps * steps
        drawn, order = -1, list[int]()
        for step in range(first, first + steps):
            if step // steps != drawn:
                drawn = step // steps
                generator = torch.Generator().manual_seed(seed_of("order", self._seed, drawn))
                order = torch.randperm(self._prompts, generator=generator).tolist()
            start = step % steps * self._per_step
            for _ in range(self._passes):
                for index in order[start : start + self._per_step]:
                    yield from [index] * self._repeats


class Trainer(GRPOTrainer):
    """See the module. `part_seconds`: of the step that runs, by part."""

    def __init__(self, *args: Any, steps_before: int = 0, **kwargs: Any):
        """steps_before: that the campaign took before this training; data and rollouts' seeds go on from there."""
        self._steps_before = steps_before
        super().__init__(*args, **kwargs)
        self.part_seconds: dict[str, float] = defaultdict(float)
        if self.use_vllm:
            self._seed_vllm()
        else:
            self._seed_rollouts()

    @property
    def _campaign_step(self) -> int:
        return self._steps_before + self.state.global_step

    def take_seconds(self) -> dict[str, float]:
        """Seconds of generation and reward since it was last asked."""
        taken = {"generation": self.part_seconds["generation"], "reward": self.part_seconds["reward"]}
        self.part_seconds.clear()
        return taken

    @contextlib.contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.part_seconds[part] += time.perf_counter() - start

    def create_accelerator_and_postprocess(self) -> None:
        """accelerate's; under FSDP2 with bfloat16 arithmetic, gradients are summed and outputs handed on in float32.

        accelerate's own policy narrows those too: the log-probabilities that importance ratios are made of, and sums
        over processes.
        """
        super().create_accelerator_and_postprocess()
        if self.accelerator.distributed_type != DistributedType.FSDP:
            return
        plugin = self.accelerator.state.fsdp_plugin
        if plugin.mixed_precision_policy is not None and plugin.fsdp_version == 2:
            plugin.mixed_precision_policy = MixedPrecisionPolicy(
                param_dtype=plugin.mixed_precision_policy.param_dtype,
                reduce_dtype=torch.float32,
                output_dtype=torch.float32,
            )

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: a training state is not a model to publish."""

    def _seed_vllm(self) -> None:
        engine, processes = self.vllm_generation, self.accelerator.num_processes
        if engine.mode == "colocate":
            # The processes that share a model ask it for the rows of all of them.
            shared = engine.tensor_parallel_size
            group = self.accelerator.process_index // shared

            def place(rows: int) -> Place:
                return Place(self._campaign_step, group * rows, processes // shared * rows)

            seed_engine(engine.llm, self.args.seed, place)
        elif self.accelerator.is_main_process:  # it asks for all rows
            seed_server(engine.vllm_client, self.args.seed, lambda rows: Place(self._campaign_step, 0, rows))

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """As the trainer does, but not for tied weights: a state holds them once, under their first name."""
        own = dict(self.model.named_parameters()).keys() | dict(self.model.named_buffers()).keys()
        missing = [name for name in load_result.missing_keys if name in own]
        super()._issue_warnings_after_load(load_result._replace(missing_keys=missing))

    def _seed_rollouts(self) -> None:
        config = self.args

        def place(rows: int) -> Place:
            index, processes = self.accelerator.process_index, self.accelerator.num_processes
            return Place(self._campaign_step, index * rows, processes * rows)

        sampling = SeededSampling(
            config.seed, temperature=config.temperature, top_k=config.top_k, top_p=config.top_p, place=place
        )
        model = self.accelerator.unwrap_model(self.model)
        generate = model.generate

        def seeded(*args: Any, **kwargs: Any) -> Any:
            sampling.begin()
            return generate(*args, logits_processor=LogitsProcessorList([sampling]), **kwargs)

        model.generate = seeded

    def _get_train_sampler(self, dataset: Any = None) -> Sampler[int]:
        # With several processes, each takes its share of a step's batch from the same order.
        return EpochSampler(
            prompts=len(dataset if dataset is not None else self.train_dataset),
            prompts_per_step=self.args.generation_batch_size // self.num_generations,
            repeats=self.num_generations,
            seed=self.args.seed,
            passes=self.num_iterations * self.args.steps_per_generation,
            state=lambda: self.state,
            before=self._steps_before,
        )

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> Any:
        with self._timed("generation"):
            return super()._generate_single_turn(*args, **kwargs)

    def _generate_and_score_completions(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        output = super()._generate_and_score_completions(*args, **kwargs)
        ratio = output.get("importance_sampling_ratio")  # [completions, 1] where vLLM wrote them; 0: left out
        if ratio is not None:
            dropped = self.accelerator.gather((ratio == 0).float().mean()).mean().item()
            self._metrics["train" if self.model.training else "eval"]["sampling/share_dropped"].append(dropped)
        return output

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> Any:
        with self._timed("reward"):
            return super()._calculate_rewards(*args, **kwargs)

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss = super().training_step(*args, **kwargs)
        if not torch.isfinite(loss):
            raise StageFailed(
                f"training diverged: the loss of step {self.state.global_step + 1} is {loss.item()}; the window up to "
                "the step before is kept in trajectory/; lower train.learning_rate, or set train.max_grad_norm lower"
            )
        return loss
