"""`relex.Capture`: one line in a script of somebody else's that trains with transformers or TRL, and its steps are kept
as a trajectory, which `relex diagnose` and `relex extrapolate` take as they take one of this project's own nights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType
from transformers import TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import TrainerCallback

from relex.checkpoints.digest import weights_sha256
from relex.checkpoints.tensors import CheckpointReader
from relex.checkpoints.tying import tied_twins
from relex.core.errors import InputError
from relex.trajectory import manifest
from relex.trajectory.step_queue import StepQueue
from relex.trajectory.writer import TrajectoryWriter, moving_tensors

_PEFT = "base_model.model."


class Capture(TrainerCallback):
    """Keep theta_t - theta_0 of optimiser steps in the folder `out`, in the background.

        trainer = GRPOTrainer(..., callbacks=[relex.Capture("window", base="path/to/base")])

    base: the checkpoint folder that the model was loaded from; theta_0 is read from its files. steps first,
    first + every, ... up to last (None: to the end). codec: `bfloat16` (half the room, about 3 digits of each delta) or
    `float32`. A `reward` that the trainer logs for a step is kept with it. LoRA adapters of PEFT are kept as the change
    that they make to the weights they sit on.

    A training that goes on from a checkpoint goes on with its window, without the steps that are trained again.
    InputError where `out` holds anything else, where the model is not the base, where several processes hold parts of
    the weights (FSDP, ZeRO-3), or where a step's weights are not finite; what was kept until then stays. Only the main
    process writes.
    """

    def __init__(
        self,
        out: Path | str,
        *,
        base: Path | str,
        first: int = 1,
        last: int | None = None,
        every: int = 1,
        codec: str = "bfloat16",
    ):
        if first < 1 or every < 1 or (last is not None and last < first):
            raise InputError("not steps", where="relex.Capture", found=f"first {first}, last {last}, every {every}")
        self._out, self._base, self._codec = Path(out), Path(base), codec
        self._first, self._last, self._every = first, last, every
        self._queue: StepQueue | None = None
        self._origin: dict[str, torch.Tensor] = {}
        self._pending: tuple[int, dict[str, torch.Tensor]] | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if AcceleratorState().distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED):
            raise InputError(
                "the weights are spread over several processes",
                where="relex.Capture",
                expected="one process, or data parallel ones",
                todo="save full checkpoints and take them with `relex import`",
            )
        if not state.is_world_process_zero:
            return
        model = kwargs["model"]
        identity = {"captured_by": "relex.Capture", "first": self._first, "every": self._every}
        self._check_out(identity, resumed=state.global_step > 0)
        with CheckpointReader(self._base) as reader:
            moving, heads = moving_tensors(reader), tied_twins(reader)
            layers, held = _adapted(model), dict(_parameters(model))
            names = set(layers) if layers else held.keys() - heads.keys()
            if strange := sorted(names - moving.keys()):
                raise InputError(
                    "the model has a tensor that the base lacks",
                    where=f"{self._base}: {strange[0]}",
                    found=len(strange),
                )
            for name in sorted(names if not layers else ()):
                if held[name].shape != reader.specs[name].shape:
                    raise InputError(
                        "the model that is trained is not the base",
                        where=f"{self._base}: {name}",
                        expected=f"shape {tuple(reader.specs[name].shape)}",
                        found=tuple(held[name].shape),
                    )
            if not layers:
                self._origin = {name: reader.tensor(name).float() for name in sorted(names)}
        if state.global_step == 0:
            self._check_base(model)
        writer = TrajectoryWriter(self._out, base=self._base, codec=self._codec, identity=identity, only=sorted(names))
        writer.truncate(state.global_step)
        self._queue = StepQueue(writer)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self._queue is None or not self._wanted(state.global_step):
            return
        self._hand_over(None)
        deltas = self._deltas(kwargs["model"])
        for name, tensor in deltas.items():
            if not torch.isfinite(tensor).all():
                self._queue.flush()
                raise InputError("the weights are not finite", where=f"step {state.global_step}: {name}")
        self._pending = (state.global_step, deltas)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        # Right after on_step_end, with the weights unchanged: only here is the step's reward known.
        if self._pending is not None and self._pending[0] == state.global_step:
            reward = kwargs.get("logs", {}).get("reward")
            self._hand_over(None if reward is None else float(reward))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._hand_over(None)
        if self._queue is not None:
            self._queue.close()
            self._queue = None

    def _check_out(self, identity: dict[str, Any], *, resumed: bool) -> None:
        """InputError unless nothing lies there, or, for a resumed training, its own window: nothing is written over."""
        if not self._out.exists() or (self._out.is_dir() and not any(self._out.iterdir())):
            return
        if not (self._out / manifest.NAME).is_file():
            raise InputError("something else lies there", where=self._out, expected="a new folder for the window")
        if not resumed:
            todo = "remove it, name another folder, or resume the training that it is of"
            raise InputError("a window is there already", where=self._out, todo=todo)
        found = manifest.load(self._out)
        if (found.identity, found.base_sha256) != (identity, weights_sha256(self._base)):
            raise InputError("the window is of another training", where=self._out, todo="name another folder")

    def _wanted(self, step: int) -> bool:
        inside = step >= self._first and (self._last is None or step <= self._last)
        return inside and (step - self._first) % self._every == 0

    def _hand_over(self, reward: float | None) -> None:
        if self._queue is not None and self._pending is not None:
            step, deltas = self._pending
            self._pending = None
            self._queue.put(step, deltas, reward)

    def _deltas(self, model: Any) -> dict[str, torch.Tensor]:
        """float32, on the processor."""
        with torch.no_grad():
            if layers := _adapted(model):
                return {name: layer.get_delta_weight("default").float().cpu() for name, layer in layers.items()}
            found = dict(_parameters(model))
            return {name: found[name].detach().cpu().float() - origin for name, origin in self._origin.items()}

    def _check_base(self, model: Any) -> None:
        """InputError unless the weights are the base's, to the rounding of a type that they were loaded in."""
        for name, delta in self._deltas(model).items():
            if self._origin:
                loaded = dict(_parameters(model))[name].dtype
                expected = self._origin[name].to(loaded).float() - self._origin[name]
            else:
                expected = torch.zeros_like(delta)
            if not torch.equal(delta, expected):
                raise InputError(
                    "the model that is trained is not the base",
                    where=f"{self._base}: {name}",
                    expected="the weights that the model was loaded from",
                    found=f"another value in {int((delta != expected).sum())} of {delta.numel()} places",
                )


def _parameters(model: Any) -> list[tuple[str, torch.Tensor]]:
    """Under the names of the checkpoint; tied ones once."""
    inner = getattr(model, "module", model)  # of a data parallel wrapper
    return list(inner.named_parameters())


def _adapted(model: Any) -> dict[str, Any]:
    """The layers that carry PEFT's LoRA, by the name that their weight has in the base; none without peft."""
    try:
        from peft.tuners.lora import LoraLayer
    except ImportError:
        return {}
    inner = getattr(model, "module", model)
    return {
        name.removeprefix(_PEFT) + ".weight": layer
        for name, layer in inner.named_modules()
        if isinstance(layer, LoraLayer)
    }
