"""Products of bfloat16 rows by the processor's own instruction (vdpbf16ps of AVX-512), for kernels/gram.py.

Written as LLVM's intermediate code because neither Numba nor NumPy has the type. Only to be compiled where AVAILABLE.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from relex.window.kernels.decode import FEATURES, TILE

AVAILABLE = "+avx512bf16" in FEATURES
LINE = 32  # columns of one instruction: one cache line

_LANES = 16  # float32 sums of one instruction
_INSTRUCTION = "llvm.x86.avx512bf16.dpbf16ps.512"
_ACROSS = "llvm.vector.reduce.fadd.v16f32"


class _Bfloat(ir.Type):
    """LLVM's bfloat, which llvmlite cannot name."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Bfloat)

    def __hash__(self) -> int:
        return hash(_Bfloat)


@intrinsic
def tile_products(context: Any, left: Any, right: Any, stride: Any, lines: Any, tile: Any) -> Any:
    """tile [TILE * TILE] float32 = a b^T, for TILE rows a and TILE rows b of bfloat16.

    left, right: addresses of their first rows, on a cache line; stride: bytes from row to row, a multiple of 64; lines
    (int64, at least 1): columns / LINE. Sums are float32, rounded after every pair of products; subnormal numbers count
    as zero.
    """
    whole = types.int64
    signature = types.void(whole, whole, whole, whole, types.Array(types.float32, 1, "C"))

    def code(typing_context: Any, builder: Any, signed: Any, arguments: Any) -> Any:
        from numba.core import cgutils

        left, right, stride, lines, tile = arguments
        target = cgutils.create_struct_proxy(signed.args[4])(typing_context, builder, value=tile).data
        single, address = ir.FloatType(), ir.IntType(64)
        sums, halves = ir.VectorType(single, _LANES), ir.VectorType(_Bfloat(), LINE)
        multiply = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(sums, [sums, halves, halves]), _INSTRUCTION
        )
        across = cgutils.get_or_insert_function(builder.module, ir.FunctionType(single, [single, sums]), _ACROSS)
        before = builder.block
        loop, after = builder.append_basic_block("tile.loop"), builder.append_basic_block("tile.after")
        rows = [[builder.add(first, builder.mul(stride, address(at))) for at in range(TILE)] for first in (left, right)]
        length = builder.mul(lines, address(2 * LINE))
        builder.branch(loop)
        builder.position_at_end(loop)
        place = builder.phi(address)
        held = [builder.phi(sums) for _ in range(TILE * TILE)]
        a, b = (
            [
                builder.load(builder.inttoptr(builder.add(row, place), halves.as_pointer()), align=2 * LINE)
                for row in side
            ]
            for side in rows
        )
        grown = [builder.call(multiply, [held[TILE * i + j], a[i], b[j]]) for i in range(TILE) for j in range(TILE)]
        ahead = builder.add(place, address(2 * LINE))
        place.add_incoming(address(0), before)
        place.add_incoming(ahead, loop)
        for old, new in zip(held, grown, strict=True):
            old.add_incoming(ir.Constant(sums, [0.0] * _LANES), before)
            old.add_incoming(new, loop)
        builder.cbranch(builder.icmp_signed("<", ahead, length), loop, after)
        builder.position_at_end(after)
        for at, value in enumerate(grown):
            total = builder.call(across, [ir.Constant(single, 0.0), value], fastmath=("reassoc",))
            builder.store(total, builder.gep(target, [address(at)]))
        return typing_context.get_dummy_value()

    return signature, code
