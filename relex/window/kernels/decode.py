"""Reading and decoding stored rows on the processor, compiled by Numba; kernels/gram.py and kernels/sum.py build on it.

Why compiled: the interpreter lock is released, so threads scale, and what is read is used while it is in the core's
cache. Rows are read by pread straight into a buffer that stays there; mapping the files instead took 2 s more of page
faults for 10 GB.

T stored rows and theta_0 after them are given by handles [T + 1], the positions [T + 1] of their first bytes, and their
kind; decoding always yields float32 delta_t = theta_t - theta_0. A block of columns is read in groups; the rows of one
group lie one after another, whether in a buffer that every group uses again or, where a whole tensor is kept, in its
own place. Loops may be reassociated within a chunk, and the processor may have products of its own
(kernels/bfloat16.py): bits can differ between processor types; on one machine they depend on nothing but the input.
"""

from __future__ import annotations

import platform
from typing import Any

import numpy as np
from numba import carray, njit, types
from numba.core.registry import cpu_target
from numba.extending import intrinsic
from numpy.typing import NDArray

CHUNK = 2048  # columns decoded at a time: T = 40 rows of float32 take 330 KiB, within a core's second-level cache
TILE = 4
SCALE_BLOCK = 64  # columns that share a scale in KIND_INT8; codec.BLOCK

KIND_FLOAT32, KIND_BFLOAT16, KIND_FLOAT16, KIND_INT8, KIND_ZERO = 0, 1, 2, 3, 4
ITEM_BYTES = (4, 2, 2, 1, 0)

# What Numba compiles for: this processor, unless NUMBA_CPU_NAME says otherwise.
FEATURES = frozenset(cpu_target.target_context.codegen().magic_tuple()[2].split(","))
_HALF = "+f16c" in FEATURES or platform.machine() == "aarch64"  # converts float16 itself

# No flag that lets the compiler assume finite numbers: NaN and Inf must survive to be reported. Decoding must not be
# reassociated: theta_t - theta_0 is exact for neighbouring values only when it is taken first.
EXACT = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": {"contract"}}
LOOPS = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": {"reassoc", "contract"}}


@intrinsic
def pointer(context: Any, address: Any) -> Any:
    """An integer address as a pointer."""

    def code(_: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        from numba.core import cgutils

        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(address), code


@intrinsic
def float32_of(context: Any, bits: Any) -> Any:
    """The float32 with these 32 bits."""

    def code(_: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        from llvmlite import ir

        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.uint32), code


@intrinsic
def bits_of(context: Any, value: Any) -> Any:
    """The 32 bits of a float32."""

    def code(_: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        from llvmlite import ir

        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.uint32(types.float32), code


@intrinsic
def _converted(context: Any, half: Any) -> Any:
    """The float32 of a float16's 16 bits, by the processor's own conversion."""

    def code(_: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        from llvmlite import ir

        return builder.fpext(builder.bitcast(arguments[0], ir.HalfType()), ir.FloatType())

    return types.float32(types.uint16), code


@njit(**EXACT)
def _assembled(half):  # type: ignore[no-untyped-def]
    """The same from integer operations.

    Moving the 15 low bits into a float32's exponent and mantissa gives the value times 2**-112, exactly, for normal and
    subnormal numbers alike; an exponent of all ones stays Inf or NaN.
    """
    wide = np.uint32(half)
    special = np.uint32(0x70000000) if (wide & np.uint32(0x7C00)) == np.uint32(0x7C00) else np.uint32(0)
    magnitude = ((wide & np.uint32(0x7FFF)) << np.uint32(13)) | special
    return float32_of(magnitude | ((wide & np.uint32(0x8000)) << np.uint32(16))) * np.float32(2.0**112)


from_float16 = _converted if _HALF else _assembled


@njit(**EXACT)
def from_bfloat16(half):  # type: ignore[no-untyped-def]
    """The float32 of a bfloat16's 16 bits."""
    return float32_of(np.uint32(half) << np.uint32(16))


# The C library's; declared rather than taken through ctypes so that the compiled code can be cached.
_pread = types.ExternalFunction("pread", types.int64(types.int32, types.voidptr, types.int64, types.int64))


def scratch_for(rows: int, dtype: type) -> NDArray:
    """Scratch [rows rounded up to TILE, CHUNK and a cache line], the line to keep the rows off the same cache sets."""
    padded, width = -(-rows // TILE) * TILE, CHUNK + 64 // np.dtype(dtype).itemsize
    return aligned(padded * width * np.dtype(dtype).itemsize).view(dtype).reshape(padded, width)


def aligned(size: int) -> NDArray[np.uint8]:
    """Zeroed bytes that begin on a cache line: vector loads that cross lines cost a fifth of the products' speed."""
    held = np.zeros(size + 64, np.uint8)
    first = -held.ctypes.data % 64
    return held[first : first + size]


@njit(**EXACT)
def decode(address, kind, scale, begin, column, width, origin, along, last, out):  # type: ignore[no-untyped-def]
    """out[i] = (value begin + i stored from `address` on, scaled) - origin[i] - along * last[i], for i < width.

    scale: the row's scales; column: where out[0] lies among the columns that they begin with.
    """
    if kind == 0:
        singles = carray(pointer(address + 4 * begin), (width,), np.float32)
        for i in range(width):
            out[i] = (singles[i] - origin[i]) - along * last[i]
    elif kind == 1:
        halves = carray(pointer(address + 2 * begin), (width,), np.uint16)
        for i in range(width):
            out[i] = (from_bfloat16(halves[i]) - origin[i]) - along * last[i]
    elif kind == 2:
        halves = carray(pointer(address + 2 * begin), (width,), np.uint16)
        factor = scale[0]
        for i in range(width):
            out[i] = (from_float16(halves[i]) * factor - origin[i]) - along * last[i]
    elif kind == 3:
        octets = carray(pointer(address + begin), (width,), np.int8)
        for first in range(0, width, SCALE_BLOCK):
            factor = scale[(column + first) // SCALE_BLOCK]
            for i in range(first, min(first + SCALE_BLOCK, width)):
                out[i] = (np.float32(octets[i]) * factor - origin[i]) - along * last[i]
    else:
        for i in range(width):
            out[i] = np.float32(0.0)


@njit(**EXACT)
def item_of(kind):  # type: ignore[no-untyped-def]
    """Bytes of a stored value; ITEM_BYTES."""
    return 4 if kind == 0 else 1 if kind == 3 else 0 if kind == 4 else 2


@njit(**EXACT)
def _fill(handle, position, address, length):  # type: ignore[no-untyped-def]
    """Read `length` bytes at a position of a file to an address; False when the file ends early or cannot be read."""
    while length > 0:
        done = _pread(handle, pointer(address), length, position)
        if done <= 0:
            return False
        address, position, length = address + done, position + done, length - done
    return True


@njit(**EXACT)
def load(handles, positions, kind, base_kind, begin, width, address, base, fill):  # type: ignore[no-untyped-def]
    """Read the columns [begin, begin + width) of all rows to `address`, one row after another (only where `fill`), and
    of theta_0 to the address `base`; the first row that failed (T for theta_0), or -1."""
    rows = len(handles) - 1
    item = item_of(kind)
    if fill:
        for t in range(rows):
            if not _fill(handles[t], positions[t] + item * begin, address + item * width * t, item * width):
                return t
    item = item_of(base_kind)
    if not _fill(handles[rows], positions[rows] + item * begin, base, item * width):
        return rows
    return -1


@njit(**EXACT)
def decode_block(handles, positions, kind, scales, base_kind, start, stop, raw, base_raw, out):  # type: ignore[no-untyped-def]
    """out [T, stop - start] float32 = the deltas themselves; raw [T * (stop - start) * item] and base_raw
    [(stop - start) * 4] uint8. base_kind: KIND_ZERO where the rows are deltas already; scales [T, S] float32 from
    column `start` on. Returns -1, or the row that could not be read (T for theta_0)."""
    nothing, unit = np.zeros(CHUNK, np.float32), np.ones(1, np.float32)
    origin = np.zeros(CHUNK, np.float32)
    wide, item = stop - start, item_of(kind)
    address, base = np.int64(raw.ctypes.data), np.int64(base_raw.ctypes.data)
    failed = load(handles, positions, kind, base_kind, start, wide, address, base, True)
    if failed >= 0:
        return failed
    for begin in range(0, wide, CHUNK):
        width = min(CHUNK, wide - begin)
        decode(base, base_kind, unit, begin, 0, width, nothing, np.float32(0.0), nothing, origin)
        for t in range(len(handles) - 1):
            place = out[t, begin : begin + width]
            at = address + item * (wide * t + begin)
            decode(at, kind, scales[t], 0, begin, width, origin, np.float32(0.0), nothing, place)
    return -1


@njit(**EXACT)
def round_to_bfloat16(values, out):  # type: ignore[no-untyped-def]
    """out [N] uint16: values [N] float32 rounded to the nearest bfloat16, ties to even; NaN stays NaN."""
    for i in range(len(values)):
        bits = bits_of(values[i])
        rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
        nan = (bits & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000)
        out[i] = np.uint16(np.uint32(0x7FC0) if nan else rounded)
