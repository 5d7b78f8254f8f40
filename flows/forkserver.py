"""A night's fork server: what its stages, actions and engines import, imported once a night (relex/core/forkserver)."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from flows.stages import environment
from flows.supervise import supervised
from relex.core.atomic import scratch_folder
from relex.core.forkserver.ask import VARIABLE
from relex.core.workspace import STATE
from relex.params.load import Params
from relex.stages.train.params import Train

# Where one of these is there, CUDA may be initialised by an import, and what is forked after that cannot use it.
_DRIVERS = tuple(map(Path, ("/proc/driver/nvidia/version", "/usr/lib/wsl/lib/libcuda.so.1", "/dev/kfd")))
_MODELS = "transformers.models.auto.modeling_auto,transformers.models.auto.tokenization_auto"
_STAGES = ("base", "train", "diagnose", "extrapolate", "evaluate", "decide", "report")


@contextlib.contextmanager
def fork_server(params: Params) -> Iterator[None]:
    """Have what is run in the body ask a fork server first, which ends with it; where a GPU is, there is none.

    One that this process was given in its environment is used, and not ended.
    """
    if VARIABLE in os.environ or any(driver.exists() for driver in _DRIVERS):
        yield
        return
    STATE.mkdir(exist_ok=True)
    with scratch_folder(STATE, "forkserver") as folder, open(STATE / "forkserver.log", "wb") as log:
        place = str(folder.absolute())
        command = [sys.executable, "-m", "relex.core.forkserver.server", place, *plan(params)]
        with supervised(command, environment=environment(), output=log):
            os.environ[VARIABLE] = place
            try:
                yield
            finally:
                del os.environ[VARIABLE]


def plan(params: Params) -> list[str]:
    """The templates, as arguments of relex/core/forkserver/server.py."""
    stages = [f"relex.stages.{name}.stage" for name in _STAGES]
    if isinstance(params.train, Train) and params.train.generation.backend != "vllm":
        stages.append("relex.stages.train.trl_import:load")
    engine = ["engine=relex.stages.evaluate.engine.vllm_backend:load"] if params.evaluate.backend == "vllm" else []
    return [
        "registry=mlflow,mlflow.store.tracking.sqlalchemy_store,relex.registry.register,relex.registry.promotion",
        f"torch,{_MODELS}",
        *engine,
        f"stage={','.join(stages)}",
    ]
