"""How a delta is stored: float32, bfloat16, per-tensor scaled float16, block-scaled int8.

A delta of one tensor becomes one or two stored tensors: the values under the tensor's own name and, where the codec
scales, the scales (bfloat16) under that name with SCALE appended.

| codec | bytes per value | rounding, at most |
|---|---|---|
| float32 | 4 | none |
| bfloat16 | 2 | 2**-9 of the value |
| float16 | 2 | 2**-12 of the value, down to 2**-30 of the tensor's largest; the scale is a power of two |
| int8 | 1 + 2/64 | 1/250 of the largest of 64 neighbours |

What these mean for a predicted delta was measured: see tests/benchmarks/codecs.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relex.checkpoints.header import FLOATING, ITEM_BYTES
from relex.checkpoints.tensors import torch_dtype

if TYPE_CHECKING:
    import torch

SCALE = "::scale"
BLOCK = 64  # values that share one scale in int8
_SCALE_BYTES = 2


@dataclass(frozen=True)
class Codec:
    """One way of storing deltas: `dtype` of the values, as the safetensors format names it, and `block` values per
    scale (0: no scale, -1: one for all)."""

    name: str
    dtype: str
    block: int
    limit: float  # the largest magnitude that dtype holds exactly enough to scale to

    def encode(self, delta: torch.Tensor) -> dict[str, torch.Tensor]:
        """Stored tensors of a float32 delta of any shape, keyed by the suffix to its name; values keep its shape."""
        import torch

        if self.block == 0:
            return {"": delta.to(torch_dtype(self.dtype)).contiguous()}
        flat = delta.reshape(-1)
        size = max(flat.numel(), 1) if self.block < 0 else self.block
        blocks = self.scales(flat.numel())
        padded = torch.nn.functional.pad(flat, (0, blocks * size - flat.numel())).view(blocks, size)
        largest = padded.abs().amax(dim=1) / self.limit
        if self.dtype in FLOATING:
            scale = _power_of_two_above(largest)
            values = padded / scale[:, None]
        else:
            scale = _bfloat16_above(largest)
            values = (padded / scale[:, None]).round()
        values = values.to(torch_dtype(self.dtype)).view(-1)[: flat.numel()].reshape(delta.shape).contiguous()
        return {"": values, SCALE: scale.bfloat16()}

    def decode(self, stored: Mapping[str, torch.Tensor], start: int, stop: int, out: torch.Tensor) -> None:
        """Write the flat values [start, stop) of a stored delta into `out` [stop - start], float32."""
        out.copy_(stored[""].view(-1)[start:stop])
        if self.block == 0:
            return
        scale = stored[SCALE].float()
        if self.block < 0:
            out.mul_(scale[0])
        else:
            first, last = start // self.block, -(-stop // self.block)
            spread = scale[first:last].repeat_interleave(self.block)
            out.mul_(spread[start - first * self.block : stop - first * self.block])

    @property
    def value_bytes(self) -> float:
        """Bytes of one value of a large tensor, with its share of a scale."""
        return ITEM_BYTES[self.dtype] + (_SCALE_BYTES / self.block if self.block > 0 else 0.0)

    def scales(self, numel: int) -> int:
        """How many scales go with `numel` values."""
        return 0 if self.block == 0 else 1 if self.block < 0 else -(-numel // self.block)


def _power_of_two_above(value: torch.Tensor) -> torch.Tensor:
    """The smallest normal power of two >= value (float32 [n]); 1 where value is 0."""
    import torch

    mantissa, exponent = torch.frexp(value.clamp(min=torch.finfo(torch.float32).tiny))
    exponent = torch.where(mantissa == 0.5, exponent - 1, exponent)
    return torch.where(value > 0, torch.ldexp(torch.ones_like(value), exponent), torch.ones_like(value))


def _bfloat16_above(value: torch.Tensor) -> torch.Tensor:
    """The smallest normal bfloat16 >= value, as float32 [n]; 1 where value is 0."""
    import torch

    bits = value.clamp(min=torch.finfo(torch.float32).tiny).view(torch.int32)
    above = ((bits + 0xFFFF) >> 16 << 16).view(torch.float32)
    return torch.where(value > 0, above, torch.ones_like(value))


_ALL = (
    Codec("float32", "F32", 0, 0.0),
    Codec("bfloat16", "BF16", 0, 0.0),
    Codec("float16", "F16", -1, 65504.0),
    Codec("int8", "I8", BLOCK, 127.0),
)
CODECS: Mapping[str, Codec] = {codec.name: codec for codec in _ALL}
