"""What vLLM is started with, by the device that it runs on. Pure."""

from __future__ import annotations

from typing import Any

_MOST = 0.9  # of a GPU's memory, vLLM's own default
_SPARE = 0.02  # of it: what others hold may grow a little while the engine starts


def options(settings: dict[str, Any], memory: tuple[int, int] | None) -> dict[str, Any]:
    """Arguments of vllm.LLM for settings of an engine process. memory: bytes (free, in all) of its GPU; None on a CPU.

    A cached prefix would let an earlier batch, or earlier weights, change the arithmetic of a later one: there is none.
    """
    common = {
        "dtype": settings["dtype"],
        "max_model_len": settings["max_model_len"],
        "tensor_parallel_size": settings["tensor_parallel"],
        "seed": 0,  # every request carries its own seed
        "enable_prefix_caching": False,
        "disable_log_stats": True,
    }
    if memory is None:
        # A prompt prefilled in chunks crashes seeded sampling on the CPU build, and compiling costs more than it gains.
        whole = {"enable_chunked_prefill": False, "max_num_batched_tokens": max(8192, settings["max_model_len"])}
        return {**common, **whole, "enforce_eager": True}
    return {**common, "gpu_memory_utilization": gpu_share(*memory)}


def gpu_share(free: int, total: int) -> float:
    """How much of a GPU an engine may take beside what others hold; vLLM does not start with more than is free."""
    return min(_MOST, int((free / total - _SPARE) * 100) / 100)
