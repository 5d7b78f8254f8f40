"""The accelerate configuration file that `train.accelerate` names: read, held against the section, and what of it
changes a weight."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from accelerate.utils import DistributedType
from ruamel.yaml import YAML

from relex.checkpoints.tensors import CheckpointReader
from relex.core.errors import InputError
from relex.core.topology import Topology
from relex.stages.train.params import Train

# Keys whose values reach the arithmetic: how it is rounded, and how the weights are spread.
_ARITHMETIC = ("distributed_type", "mixed_precision", "downcast_bf16", "fsdp_config", "deepspeed_config")


def read(path: Path) -> ClusterConfig:
    """The configuration; InputError when it is missing or accelerate does not understand it."""
    if not path.is_file():
        raise InputError("the accelerate configuration is missing", where=f"train.accelerate: {path}")
    try:
        return load_config_from_file(str(path))
    except (ValueError, TypeError, KeyError) as error:
        message = " ".join(str(error).split())[:300]
        raise InputError("not an accelerate configuration", where=path, found=message) from error


def on_processors(found: ClusterConfig) -> bool:
    """Whether its processes use no GPU."""
    return bool(found.distributed_type == DistributedType.MULTI_CPU)


def faults(train: Train, path: Path, machine: Topology) -> list[InputError]:
    """What of the file contradicts the section `train`, or asks for GPUs that the machine lacks."""
    found = read(path)
    errors = []
    wanted, said = "bf16" if train.bf16 else "no", found.mixed_precision or "no"
    if str(said) != wanted:
        errors.append(
            InputError(
                f"contradicts train.bf16: {str(train.bf16).lower()}",
                where=f"{path}: mixed_precision",
                expected=wanted,
                found=said,
                todo="accelerate follows its file: make both say the same",
            )
        )
    batch, share = train.prompts_per_step * train.num_generations, train.per_device_train_batch_size
    if batch % (share * found.num_processes):
        errors.append(
            InputError(
                "a step's completions do not divide among the processes",
                where="train.per_device_train_batch_size",
                expected=f"a divisor of {batch} / {found.num_processes} processes",
                found=share,
            )
        )
    if not on_processors(found) and found.num_machines == 1 and found.num_processes > len(machine.gpus):
        errors.append(
            InputError(
                "more processes than GPUs",
                where=f"{path}: num_processes",
                expected=f"at most {len(machine.gpus)}, the GPUs that are visible here",
                found=found.num_processes,
            )
        )
    return errors


def rounded(path: Path, base: Path) -> list[InputError]:
    """A base that DeepSpeed would round before it trains: with bfloat16 arithmetic it makes its float32 master weights
    of weights that it has cast already, and every delta would carry what that took away.

    base: theta_0's checkpoint folder.
    """
    found = read(path)
    if found.distributed_type != DistributedType.DEEPSPEED or found.mixed_precision != "bf16":
        return []
    with CheckpointReader(base) as reader:
        wider = sorted({spec.dtype for spec in reader.specs.values()} - {"BF16"})
    if not wider:
        return []
    return [
        InputError(
            "DeepSpeed would round the base's weights to bfloat16 before it trains",
            where=f"{path}: mixed_precision: bf16",
            expected="a base that is stored in bfloat16",
            found=", ".join(wider),
            todo='take infra/profiles/accelerate/fsdp.yaml, or mixed_precision: "no" here with train.bf16: false',
        )
    ]


def arithmetic(path: Path) -> dict[str, Any]:
    """What of the file changes a weight, as it stands there; part of a run's identity."""
    found = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    return {key: found[key] for key in _ARITHMETIC if key in found}
