"""What vLLM is started with, by the device that it runs on. Pure."""

from __future__ import annotations

from typing import Any

_MOST = 0.9  # of a GPU's memory, vLLM's own default
_SPARE = 0.02  # of it: what others hold may grow a little while the engine starts
_SEQUENCES = 256  # that are answered at a time on a CPU, vLLM's own default there
_BLOCK = 256  # tokens: no attention of vLLM's on CPUs has larger blocks of cache
# Families whose layers all keep the keys and values of every token, and nothing else.
_PLAIN = {"gemma", "gemma2", "granite", "llama", "mistral", "olmo2", "phi3", "qwen2", "qwen3", "smollm3"}
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def options(settings: dict[str, Any], memory: tuple[int, int] | None, config: Any = None) -> dict[str, Any]:
    """Arguments of vllm.LLM for settings of an engine process. memory: bytes (free, in all) of its GPU; None on a CPU.
    config: of the model there, as transformers reads it.

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
        cache = {"max_num_seqs": _SEQUENCES, "kv_cache_memory_bytes": cache_bytes(settings, config)}
        return {**common, **whole, **cache, "enforce_eager": True}
    return {**common, "gpu_memory_utilization": gpu_share(*memory)}


def cache_bytes(settings: dict[str, Any], config: Any) -> int:
    """Key-value cache of an engine on a CPU: what the sequences that it answers at a time can fill, and no more than
    `cpu_kv_cache_gib`; vLLM writes to all of it before the first answer. What a model of another family keeps is not
    known here: it has `cpu_kv_cache_gib`."""
    most = int(settings["cpu_kv_cache_gib"]) << 30
    if config is None or config.model_type not in _PLAIN:
        return most
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    token = 2 * config.num_hidden_layers * config.num_key_value_heads * size * _BYTES[settings["dtype"]]
    return min(most, _SEQUENCES * -(-settings["max_model_len"] // _BLOCK) * _BLOCK * token)


def gpu_share(free: int, total: int) -> float:
    """How much of a GPU an engine may take beside what others hold; vLLM does not start with more than is free."""
    return min(_MOST, int((free / total - _SPARE) * 100) / 100)
