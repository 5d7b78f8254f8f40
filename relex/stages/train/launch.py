"""Training in processes of its own: several, as an accelerate configuration file says, or one that owns its GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from relex.core.bound import bound
from relex.core.errors import InputErrors, StageFailed
from relex.core.reproducible import TORCH_VARIABLES, engine_variables
from relex.core.topology import Topology
from relex.core.workspace import BASE
from relex.stages.train.accelerate_file import faults, on_processors, read, rounded
from relex.stages.train.params import Train

# Set for the processes that are started here, so that none of them ever starts others.
_MARK = "RELEX_TRAINING_PROCESS"


def is_launched() -> bool:
    """Whether this is one of the processes that launch() started."""
    return os.environ.get(_MARK) == "1"


def launch(train: Train, found: Topology) -> None:
    """Run the stage train in the processes of its accelerate configuration, or in one on the first visible GPU.

    They have ended when this returns, and what they held on the devices is free. InputError for a file that accelerate
    does not understand, or that does not fit the section or the machine; StageFailed when a process fails.
    """
    if train.accelerate is None:
        command, more = _one_gpu(found)
    else:
        file = Path(train.accelerate)
        if errors := faults(train, file, found) or rounded(file, BASE):
            raise InputErrors(errors)
        command, more = _several(file)
    environment = {**os.environ, _MARK: "1", **more, **in_order(train, found)}
    done = subprocess.run(bound([*command, "-m", "relex.cli", "train"]), check=False, env=environment)
    if done.returncode:
        raise StageFailed(f"a training process failed (exit {done.returncode}); its message stands above")


def _one_gpu(found: Topology) -> tuple[list[str], dict[str, str]]:
    """Command and environment of one process. It sees one GPU: with several in sight, one process would take them all,
    which TRL refuses."""
    first = found.gpus[0]
    if len(found.gpus) > 1:
        print(
            f"train: on GPU {first.visible_as} ({first.name}), one of {len(found.gpus)} that are visible; another one: "
            "CUDA_VISIBLE_DEVICES; several: train.accelerate"
        )
    return [sys.executable], {"CUDA_VISIBLE_DEVICES": first.visible_as}


def in_order(train: Train, found: Topology) -> dict[str, str]:
    """Environment of processes that are asked to be reproducible: read when CUDA and vLLM start in them."""
    if not train.reproducible:
        return {}
    generation = train.generation
    colocated = generation.backend == "vllm" and generation.mode == "colocate"
    return {**TORCH_VARIABLES, **engine_variables(colocated, found)}


def _several(configuration: Path) -> tuple[list[str], dict[str, str]]:
    """Command and environment of the processes of an accelerate configuration."""
    found = read(configuration)
    if on_processors(found):
        # accelerate itself starts processes on CPUs through MPI only, and quietly a single one where there is none.
        command = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(found.num_processes)]
        return [sys.executable, *command], {"ACCELERATE_USE_CPU": "true"}
    return [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(configuration)], {}
