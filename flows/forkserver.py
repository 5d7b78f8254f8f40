"""A night's fork server: what its stages, actions and engines import, imported once a night (relex/core/forkserver)."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from flows.dvc_command import DVC
from flows.process import environment
from flows.supervise import supervised
from relex.core.atomic import scratch_folder
from relex.core.forkserver.ask import VARIABLE
from relex.core.workspace import STATE
from relex.params.load import Params
from relex.stages.train.params import Train

# Where one of these is there, CUDA may be initialised by an import, and what is forked after that cannot use it.
_DRIVERS = tuple(map(Path, ("/proc/driver/nvidia/version", "/usr/lib/wsl/lib/libcuda.so.1", "/dev/kfd")))
_MODELS = "transformers.models.auto.modeling_auto,transformers.models.auto.tokenization_auto"
_PICTURES = ("matplotlib.figure", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg")
_REGISTRY = (
    "mlflow",
    "mlflow.store.tracking.sqlalchemy_store",
    "relex.registry.register",
    "relex.registry.promotion",
    "relex.registry.store.packaging:load",
    *_PICTURES,
)
# What `dvc repro` and `dvc exp save` import, most of it only when they run.
_DVC = (
    "dvc.cli.parser",
    "dvc.repo.open_repo",
    "dvc.repo.reproduce",
    "dvc.repo.stage",
    "dvc.repo.plots",
    "dvc.repo.experiments.save",
    "dvc.repo.experiments.queue.celery",
    "dvc.repo.experiments.executor.local",
    "dvc.stage.serialize",
    "dvc.utils.strictyaml",
    "dvc_data.fs",
    "dvc_data.hashfile.db.local",
    "dulwich.porcelain",
    "dulwich.stash",
    "scmrepo.git.backend.pygit2",
    "configobj",
    "flatten_dict",
    "pygit2",
)
_LAST = "stage"  # of the templates
_STAGES = ("base", "train", "diagnose", "extrapolate", "evaluate", "decide", "report")


@contextlib.contextmanager
def fork_server(params: Params, variables: Mapping[str, str] | None = None) -> Iterator[None]:
    """Have what is run in the body ask a fork server first, which ends with it; where a GPU is, there is none.

    variables: the environment of what will ask; None for that of a night's commands. A server that this process was
    given in its own environment is used, and not ended.
    """
    if VARIABLE in os.environ or any(driver.exists() for driver in _DRIVERS):
        yield
        return
    STATE.mkdir(exist_ok=True)
    with scratch_folder(STATE, "forkserver") as folder, open(STATE / "forkserver.log", "wb") as log:
        place = str(folder.absolute())
        command = [sys.executable, "-m", "relex.core.forkserver.server", place, *plan(params)]
        with supervised(command, environment=variables or environment(), output=log) as server:
            _until_it_listens(server, folder)
            os.environ[VARIABLE] = place
            try:
                yield
            finally:
                os.environ.pop(VARIABLE, None)


def _until_it_listens(server: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait for its sockets, or its end: without a server everything is started afresh."""
    while not (folder / _LAST).exists() and server.poll() is None:
        time.sleep(0.02)


def plan(params: Params) -> list[str]:
    """The templates, as arguments of relex/core/forkserver/server.py."""
    stages = [*(f"relex.stages.{name}.stage" for name in _STAGES), *_PICTURES]
    if isinstance(params.train, Train) and params.train.generation.backend != "vllm":
        stages.append("relex.stages.train.trl_import:load")
    engine = ["engine@=relex.stages.evaluate.engine.vllm_backend:load"] if params.evaluate.backend == "vllm" else []
    return [
        f"{DVC}={','.join(_DVC)}",
        f"torch,{_MODELS}",
        # Late: while the base is made, one core has nothing to do.
        f"registry@={','.join(_REGISTRY)}",
        *engine,
        f"{_LAST}={','.join(stages)}",
    ]
