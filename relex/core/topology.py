"""What this machine has to compute on, asked without loading torch where there is nothing to find."""

from __future__ import annotations

from pathlib import Path

# What the drivers of devices that torch calls CUDA put in place (NVIDIA, Tegra, WSL, AMD). Where there is none
# of them torch need not be asked, which takes seconds to import.
_DRIVERS = (Path("/dev/nvidiactl"), Path("/dev/nvmap"), Path("/dev/dxg"), Path("/dev/kfd"))


def has_cuda() -> bool:
    """Whether torch finds a CUDA device here; none is touched."""
    if not any(path.exists() for path in _DRIVERS):
        return False
    import torch

    return torch.cuda.is_available()


def cuda_devices() -> list[str]:
    """Names of the CUDA devices that this process may use."""
    if not has_cuda():
        return []
    import torch

    return [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
