"""Arithmetic in one fixed order, where `reproducible: true` asks for it: what torch and vLLM are told, and in words
what that cannot promise."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from relex.core.errors import StageFailed
from relex.core.topology import Topology

# cuBLAS reads it before its first product: without it, products on several streams may be summed in another order.
TORCH_VARIABLES = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
_INVARIANT = {"VLLM_BATCH_INVARIANT": "1"}
_MISSING = "does not have a deterministic implementation"  # as torch says it


@contextlib.contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Within the body torch computes with kernels that sum in a fixed order, and refuses operations that have none.

    Attention too: its backward passes then sum in order, and cuDNN's, which cannot, are left out. Memory that is not
    written yet is filled, so that no result depends on what it held. StageFailed for an operation that is refused.
    """
    if not wanted:
        yield
        return
    import torch

    cudnn, cuda, utils = torch.backends.cudnn, torch.backends.cuda, torch.utils.deterministic
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        cudnn.benchmark,
        cuda.cudnn_sdp_enabled(),
        utils.fill_uninitialized_memory,
    )
    added = {name: value for name, value in TORCH_VARIABLES.items() if name not in os.environ}
    os.environ.update(added)
    try:
        torch.use_deterministic_algorithms(True)
        cudnn.benchmark, utils.fill_uninitialized_memory = False, True
        cuda.enable_cudnn_sdp(False)
        yield
    except RuntimeError as error:
        if _MISSING not in str(error):
            raise
        raise StageFailed(
            f"train.reproducible is true, but {str(error).split(_MISSING)[0].strip()} {_MISSING} on this device; leave "
            "out the setting that needs this operation, or set train.reproducible: false"
        ) from error
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        cudnn.benchmark, utils.fill_uninitialized_memory = before[2], before[4]
        cuda.enable_cudnn_sdp(before[3])
        for name in added:
            del os.environ[name]


def engine_variables(wanted: bool, found: Topology) -> dict[str, str]:
    """Environment of a process that vLLM generates in: a row then does not depend on the rows beside it.

    Nothing where vLLM was built for CPUs, which has no such kernels.
    """
    return dict(_INVARIANT) if wanted and found.engine == "cuda" else {}


def promise(found: Topology) -> str:
    """What `reproducible: true` gives on this machine, and what it does not."""
    if not found.gpus:
        return (
            "no GPU here: torch refuses what it cannot repeat; vLLM's build for CPUs has no batch-invariant kernels, "
            "so VLLM_BATCH_INVARIANT is not set"
        )
    said = "torch's deterministic kernels"
    if found.engine == "cuda":
        said += " and vLLM's batch-invariant ones (GPUs of compute capability 9.0 or later)"
    return (
        f"{said}, which are slower: the same bytes on this kind of GPU, with these libraries and this number of "
        "processes; not on another kind, nor with others, nor from a vLLM server that was started without "
        "VLLM_BATCH_INVARIANT=1"
    )
