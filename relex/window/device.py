"""Where the arithmetic runs: `cpu`, `cuda`, or `auto`, which takes a CUDA device when there is one."""

from __future__ import annotations

from relex.core.choices import Device
from relex.core.errors import InputError
from relex.core.topology import has_cuda
from relex.window.arithmetic import Arithmetic
from relex.window.processor import Processor


def device_name(device: Device) -> str:
    """`cpu` or `cuda`; InputError for `cuda` on a machine without it."""
    if device == "cpu":
        return "cpu"
    if has_cuda():
        return "cuda"
    if device == "cuda":
        raise InputError("no CUDA device here", where="--device", expected="cpu or auto", found=device)
    return "cpu"


def arithmetic_for(device: Device) -> Arithmetic:
    """The arithmetic for `cpu`, `cuda` or `auto`."""
    name = device_name(device)
    if name == "cpu":
        return Processor()
    from relex.window.accelerator import Accelerator
    from relex.window.queues import queues_of

    return Accelerator(queues_of(name))
