"""theta_t - theta_0 in float32 from a model that is being trained: whole, with adapters, or sharded over processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch.distributed.tensor import DTensor

from relex.checkpoints.tensors import CheckpointReader
from relex.core.errors import InputError

Deltas = dict[str, torch.Tensor]  # name in the base checkpoint -> float32, the base's shape


class Source(Protocol):
    """Where the deltas of a run come from. `names`: the tensors that training can move. `collective`: every process
    must ask for the deltas together, and only the main one gets them; else each process can by itself."""

    names: tuple[str, ...]
    collective: bool

    def deltas(self) -> Deltas:
        """The deltas now."""
        ...


class FullWeights:
    """Every parameter. theta_0 is kept in float32 on the device of the weights, so that taking a difference is quick
    and never passes through a narrower type: at lr 1e-6 a bfloat16 weight would hold mostly rounding noise. Tied
    parameters appear once, under their first name."""

    collective = False

    def __init__(self, model: torch.nn.Module):
        self._model = model
        self._base = {name: tensor.detach().float().clone() for name, tensor in model.named_parameters()}
        self.names = tuple(self._base)

    def deltas(self) -> Deltas:
        return {name: tensor.detach().float() - self._base[name] for name, tensor in self._model.named_parameters()}


class LoraWeights:
    """What adapters add to each weight they sit on: scale * B A, in float32, under the base's names.

    Not A and B themselves: where both move along a line their product moves along a parabola, so it is the product that
    the forecast must see; and it is a checkpoint like any other afterwards.
    """

    collective = False

    def __init__(self, model: torch.nn.Module):
        self._layers = _adapted(model)
        self.names = tuple(self._layers)

    def deltas(self) -> Deltas:
        with torch.no_grad():
            return {
                name: torch.as_tensor(layer.get_delta_weight("default")).float() for name, layer in self._layers.items()
            }


class ShardedLoraWeights:
    """The same where A and B are spread over processes: gathered together, multiplied on the main one."""

    collective = True

    def __init__(self, model: torch.nn.Module, accelerator: Accelerator):
        """InputError for adapters on a layer that is not linear: peft multiplies those in ways of their own."""
        from peft.tuners.lora import Linear

        self._layers, self._accelerator = _adapted(model), accelerator
        for name, layer in self._layers.items():
            if not isinstance(layer, Linear):
                raise InputError(
                    "adapters on a layer that is not linear cannot be gathered from several processes",
                    where="train.lora.target_modules",
                    expected="all-linear, or the names of linear layers",
                    found=name,
                )
        self.names = tuple(self._layers)

    def deltas(self) -> Deltas:
        found: Deltas = {}
        with torch.no_grad():
            for name, layer in self._layers.items():
                low, high = (self._whole(part["default"].weight) for part in (layer.lora_A, layer.lora_B))
                if self._accelerator.is_main_process:
                    product = high.float() @ low.float() * layer.scaling["default"]
                    found[name] = (product.T if layer.fan_in_fan_out else product).cpu()
        return found

    def _whole(self, parameter: torch.Tensor) -> torch.Tensor:
        """Every process asks together, and in the same order."""
        if self._accelerator.distributed_type == DistributedType.DEEPSPEED:
            from deepspeed.utils import safe_get_full_fp32_param

            return safe_get_full_fp32_param(parameter)
        return parameter.full_tensor() if isinstance(parameter, DTensor) else parameter


def _adapted(model: torch.nn.Module) -> dict[str, Any]:
    """The layers that carry adapters, by the name that their weight has in the base."""
    from peft.tuners.lora import LoraLayer

    return {
        name.removeprefix("base_model.model.") + ".weight": layer
        for name, layer in model.named_modules()
        if isinstance(layer, LoraLayer)
    }


class ShardedWeights:
    """Parameters that FSDP or DeepSpeed ZeRO-3 spreads over processes, gathered to the main one; theta_0 is read from
    the base's files, tensor by tensor."""

    collective = True

    def __init__(self, model: Callable[[], Any], accelerator: Accelerator, base: Path):
        """model: asked at every step for the model as the trainer wrapped it. base: theta_0's checkpoint folder."""
        self._model, self._accelerator = model, accelerator
        self._base = CheckpointReader(base)
        self.names = tuple(self._base.names)

    def deltas(self) -> Deltas:
        return {name: tensor - self._base.tensor(name).float() for name, tensor in self._weights()}

    def _weights(self) -> Iterator[tuple[str, torch.Tensor]]:
        main = self._accelerator.is_main_process
        if self._accelerator.distributed_type == DistributedType.DEEPSPEED:
            # The state dict that DeepSpeed gathers is in 16 bits; the master weights are asked for one by one.
            from deepspeed.utils import safe_get_full_fp32_param

            for name, parameter in self._accelerator.unwrap_model(self._model()).named_parameters():
                whole = safe_get_full_fp32_param(parameter)
                if main and name in self._base.specs:
                    yield name, whole.detach().float().cpu()
            return
        state = self._accelerator.get_state_dict(self._model())
        if main:
            for name, tensor in state.items():
                if name in self._base.specs:
                    yield name, tensor.detach().float().cpu()


def is_sharded(accelerator: Accelerator) -> bool:
    """Whether a process holds only a part of the weights."""
    return accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED)
