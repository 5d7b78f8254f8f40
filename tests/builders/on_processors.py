"""relex train under FSDP2 without a GPU: two processes on gloo.

    python -m torch.distributed.run --standalone --nproc_per_node 2 -m tests.builders.fsdp_on_gloo

accelerate offers FSDP to devices like CUDA only, though FSDP2 itself runs on processors. Here its list of them has one
more entry; all else is the project's and the libraries' own.
"""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import textwrap
from pathlib import Path

from tests.builders.project import ROOT, Project

ENVIRONMENT = {
    "RELEX_TRAINING_PROCESS": "1",
    "ACCELERATE_USE_CPU": "true",
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_STATE_DICT_TYPE": "SHARDED_STATE_DICT",
}


def train(folder: Path, *, seconds: float = 120, **more: str) -> subprocess.CompletedProcess[str]:
    """relex train's processes in a prepared project folder; killed after `seconds`. more: environment variables."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = {**Project(folder).environment, **ENVIRONMENT, "PYTHONPATH": str(ROOT), **more}
    with subprocess.Popen(
        [*command, "-m", __name__],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            said = process.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            process.terminate()  # torch.distributed.run ends its workers
            said = process.communicate(timeout=60)[0]
            raise AssertionError(f"still running after {seconds} s:\n{said}") from None
    return subprocess.CompletedProcess(command, process.returncode, said)


def allow_processors() -> None:
    """Let accelerate choose FSDP for processes on CPUs."""
    from accelerate import state

    source = textwrap.dedent(inspect.getsource(state.AcceleratorState.__init__))
    entry = "DistributedType.MULTI_GPU,\n"
    assert source.count(entry) == 1
    names = dict(vars(state))
    exec(source.replace(entry, entry + " " * 16 + "DistributedType.MULTI_CPU,\n"), names)
    state.AcceleratorState.__init__ = names["__init__"]


if __name__ == "__main__":
    allow_processors()
    from relex.cli.app import main

    sys.argv = ["relex", "train"]
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    try:
        main()
    finally:
        from accelerate.state import AcceleratorState

        print(f"precision {AcceleratorState().fsdp_plugin.mixed_precision_policy}", flush=True)
