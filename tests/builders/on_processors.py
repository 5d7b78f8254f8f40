"""relex train as it is meant for GPUs, without one: processes on gloo, weights spread over them by FSDP2, rollouts by
vLLM's build for CPUs inside the training process.

    python -m tests.builders.on_processors PLAN.json

Every training of the plan is a fork of one process that has imported torch, TRL and vLLM, which takes longer than the
trainings. accelerate offers FSDP to devices like CUDA only, TRL asks for CUDA before it uses vLLM and hands weights on
in a way that vLLM's CPU worker lacks. Here that is opened; all else is the project's and the libraries' own.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.builders.project import ROOT, Project

_FSDP = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_STATE_DICT_TYPE": "SHARDED_STATE_DICT",
}
_VLLM = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
_CLASS = "Qwen3ForCausalLM"  # of the embedded base
_CACHE_BYTES = 64 << 20  # of vLLM's keys and values: it writes to all of them before the first answer


@dataclass(frozen=True)
class Training:
    """relex train in a prepared project folder. killed_after: its processes are killed once this step is on disk, and
    what they had written until then is kept in killed/."""

    folder: str
    processes: int = 1
    sharded: bool = False
    killed_after: int | None = None
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        """What its processes print."""
        return Path(f"{self.folder}.log")


def run(trainings: Sequence[Training], *, vllm: bool = False, seconds: float = 600) -> None:
    """One after the other; AssertionError for one that does not end as it should. vllm: whether any asks for it."""
    plan = Path(f"{trainings[0].folder}.plan.json")
    plan.write_text(json.dumps({"vllm": vllm, "trainings": [asdict(one) for one in trainings]}))
    environment = {**Project(Path(trainings[0].folder)).environment, "PYTHONPATH": str(ROOT), **_VLLM}
    done = subprocess.run(
        [sys.executable, "-m", __name__, str(plan)],
        env=environment,
        check=False,
        timeout=seconds,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    logs = "\n".join(one.log.read_text()[-3000:] for one in trainings[-2:] if one.log.exists())
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{logs}"


def allow_sharding() -> None:
    """Let accelerate choose FSDP for processes on CPUs."""
    from accelerate import state

    source = textwrap.dedent(inspect.getsource(state.AcceleratorState.__init__))
    entry = "DistributedType.MULTI_GPU,\n"
    assert source.count(entry) == 1
    names = dict(vars(state))
    exec(source.replace(entry, entry + " " * 16 + "DistributedType.MULTI_CPU,\n"), names)
    state.AcceleratorState.__init__ = names["__init__"]


def allow_vllm() -> None:
    """Let TRL generate with vLLM's build for CPUs in the training process."""
    import torch
    from vllm import ModelRegistry
    from vllm.triton_utils import dispatcher

    rebind = dispatcher._rebind_kernels

    def without_llvmlite(overrides: Any) -> None:
        # It looks at every attribute of every module, and some of llvmlite's raise when they are looked at.
        hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "llvmlite"}
        try:
            rebind(overrides)
        finally:
            sys.modules.update(hidden)

    dispatcher._rebind_kernels = without_llvmlite
    from trl.generation import vllm_generation

    from relex.stages.train import config, process

    # Each takes longer than all steps of so small a model: compiling it or a function of vLLM's, and the process in
    # which vLLM would look at its class.
    torch._dynamo.config.disable = True
    ModelRegistry.register_model(_CLASS, ModelRegistry.models[_CLASS].load_model_cls())
    small = functools.partial(vllm_generation.LLM, enforce_eager=True, kv_cache_memory_bytes=_CACHE_BYTES)
    vllm_generation.LLM = small

    def sync_weights(self: Any) -> None:
        weights = [(name, value.detach().clone()) for name, value in self._iter_named_params()]
        self.llm.collective_rpc("reload_weights", kwargs={"weights_iterator": weights})
        self.llm.reset_prefix_cache()

    vllm_generation.VLLMGeneration.sync_weights = sync_weights

    def configuration(train: Any, **more: Any) -> Any:
        usual = train.generation.model_copy(update={"backend": "transformers"})
        made = config.configuration(train.model_copy(update={"generation": usual}), **more)
        if train.generation.backend == "vllm":
            made.use_vllm, made.vllm_mode = True, "colocate"  # after its look for CUDA
        return made

    process.configuration = configuration


def _kill_after(step: int) -> None:
    from relex.stages.train.capture import Capture

    begin = Capture.on_step_begin

    def killed(self: Any, args: Any, state: Any, control: Any, **more: Any) -> None:
        if state.global_step == step:
            if self._queue is None:  # it is killed with the main one, which may still want to hear from it
                time.sleep(600)
            self._queue.flush()
            shutil.copytree("trajectory/steps", "killed")
            shutil.copy(".relex/train_steps.jsonl", "killed")
            os.kill(os.getpid(), signal.SIGKILL)
        begin(self, args, state, control, **more)

    Capture.on_step_begin = killed


def _import(vllm: bool) -> None:
    from relex.stages.train.trl_import import importing_trl

    with importing_trl(vllm=vllm):
        import relex.stages.train.process  # noqa: F401
    if vllm:
        from relex.stages.evaluate.engine.vllm_backend import load

        load()
        allow_vllm()


def _process(one: Training, rank: int, port: int) -> None:
    """One process of a training, in a fork; does not return."""
    log = os.open(one.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(one.folder)
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    os.environ.update(PWD=one.folder, RELEX_TRAINING_PROCESS="1", ACCELERATE_USE_CPU="true", **one.environment)
    if one.processes > 1:
        own, count = str(rank), str(one.processes)
        places = {"RANK": own, "LOCAL_RANK": own, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
        os.environ.update(places, MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    if one.sharded:
        os.environ.update(_FSDP)
        allow_sharding()
    if one.killed_after is not None:
        _kill_after(one.killed_after)
    from relex.cli.app import main

    sys.argv = ["relex", "train"]
    code = 1
    try:
        main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        if one.sharded:
            from accelerate.state import AcceleratorState

            print(f"precision {AcceleratorState().fsdp_plugin.mixed_precision_policy}")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _carry_out(one: Training) -> bool:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = set()
    for rank in range(one.processes):
        if (pid := os.fork()) == 0:
            _process(one, rank, port)
        running.add(pid)
    ends = []
    while running:
        pid, status = os.wait()
        running.discard(pid)
        ends.append(os.waitstatus_to_exitcode(status))
        if ends[-1]:  # the others would wait for it
            for other in running:
                os.kill(other, signal.SIGKILL)
    if ends != [0 if one.killed_after is None else -signal.SIGKILL] * one.processes:
        print(f"{one}: ended with {ends}", flush=True)
        return False
    return True


if __name__ == "__main__":
    plan = json.loads(Path(sys.argv[1]).read_text())
    _import(plan["vllm"])
    done = [_carry_out(Training(**one)) for one in plan["trainings"]]
    sys.exit(0 if all(done) else 1)
