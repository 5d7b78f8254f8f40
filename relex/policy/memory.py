"""Bytes that a causal language model needs while it generates, from its configuration, and what a device has for it."""

from __future__ import annotations

from typing import Any

import psutil
import torch

_FREE = 0.8  # of a device's memory, for what is counted here: the rest is for activations and the allocator
_PROCESSOR = 0.5  # of the machine's memory, which others use as well
_GROWING = 1.5  # a cache that grows is copied layer by layer, and leaves holes in the allocator's memory


def cache_bytes(config: Any, itemsize: int) -> int:
    """Keys and values of one token in all layers. config: transformers', of the model or of its text part."""
    text = config.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return 2 * text.num_hidden_layers * heads * width * itemsize


def rows_at_once(each: int, tokens: int, room: int) -> int:
    """How many rows of `tokens` tokens, `each` bytes a token, fit into `room` bytes; one at least."""
    return max(1, int(room / (_GROWING * each * tokens)))


def room_beside(model: torch.nn.Module) -> int:
    """Bytes for caches beside a model where it is. Of the memory that the device has, not of what is free now: the
    same machine makes the same batches."""
    device = next(model.parameters()).device
    if device.type != "cuda":
        return int(psutil.virtual_memory().total * _PROCESSOR)
    held = sum(part.numel() * part.element_size() for part in model.parameters())
    return max(0, int(torch.cuda.get_device_properties(device).total_memory * _FREE) - held)
