"""Training in several processes, as an accelerate configuration file says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from accelerate.commands.config.config_args import load_config_from_file
from accelerate.utils import DistributedType

from relex.core.bound import bound
from relex.core.errors import InputError, StageFailed

# Set for the processes that are started here, so that none of them ever starts others.
_MARK = "RELEX_TRAINING_PROCESS"


def is_launched() -> bool:
    """Whether this is one of the processes that launch() started."""
    return os.environ.get(_MARK) == "1"


def launch(configuration: Path) -> None:
    """Run the stage train in the processes of an accelerate configuration.

    InputError for a file that accelerate does not understand; StageFailed when a process fails.
    """
    if not configuration.is_file():
        raise InputError("the accelerate configuration is missing", where=f"train.accelerate: {configuration}")
    try:
        found = load_config_from_file(str(configuration))
    except (ValueError, TypeError, KeyError) as error:
        message = " ".join(str(error).split())[:300]
        raise InputError("not an accelerate configuration", where=configuration, found=message) from error
    environment = {**os.environ, _MARK: "1"}
    command = [sys.executable, "-m"]
    if found.distributed_type == DistributedType.MULTI_CPU:
        # accelerate itself starts processes on CPUs through MPI only, and quietly a single one where there is none.
        environment["ACCELERATE_USE_CPU"] = "true"
        command += ["torch.distributed.run", "--standalone", "--nproc_per_node", str(found.num_processes)]
    else:
        command += ["accelerate.commands.launch", "--config_file", str(configuration)]
    done = subprocess.run(bound([*command, "-m", "relex.cli", "train"]), check=False, env=environment)
    if done.returncode:
        raise StageFailed(f"a training process failed (exit {done.returncode}); its message stands above")
