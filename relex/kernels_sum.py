"""Weighted sums of deltas on the processor, compiled by Numba."""

from __future__ import annotations

import numpy as np
from numba import carray, njit

from relex.kernels import CHUNK, EXACT, TILE, decode, from_bfloat16, from_float16, item_of, load, pointer


@njit(**EXACT)
def _add_bfloat16(address, stride, begin, width, weights, t, origin, totals):  # type: ignore[no-untyped-def]
    """totals[0] += weights[0, t] delta_t + .. + weights[0, t + 3] delta_(t + 3), decoded on the way from bfloat16;
    address: of row t."""
    at = address + 2 * begin
    r0, r1 = carray(pointer(at), (width,), np.uint16), carray(pointer(at + stride), (width,), np.uint16)
    at += 2 * stride
    r2, r3 = carray(pointer(at), (width,), np.uint16), carray(pointer(at + stride), (width,), np.uint16)
    w0, w1, w2, w3 = weights[0, t], weights[0, t + 1], weights[0, t + 2], weights[0, t + 3]
    for i in range(width):
        d0, d1 = from_bfloat16(r0[i]) - origin[i], from_bfloat16(r1[i]) - origin[i]
        d2, d3 = from_bfloat16(r2[i]) - origin[i], from_bfloat16(r3[i]) - origin[i]
        totals[0, i] += w0 * d0 + w1 * d1 + w2 * d2 + w3 * d3


@njit(**EXACT)
def _add_float16(address, stride, begin, width, weights, t, scales, origin, totals):  # type: ignore[no-untyped-def]
    """The same from float16 with a scale per row."""
    at = address + 2 * begin
    r0, r1 = carray(pointer(at), (width,), np.uint16), carray(pointer(at + stride), (width,), np.uint16)
    at += 2 * stride
    r2, r3 = carray(pointer(at), (width,), np.uint16), carray(pointer(at + stride), (width,), np.uint16)
    w0, w1, w2, w3 = weights[0, t], weights[0, t + 1], weights[0, t + 2], weights[0, t + 3]
    f0, f1, f2, f3 = scales[t, 0], scales[t + 1, 0], scales[t + 2, 0], scales[t + 3, 0]
    for i in range(width):
        d0, d1 = from_float16(r0[i]) * f0 - origin[i], from_float16(r1[i]) * f1 - origin[i]
        d2, d3 = from_float16(r2[i]) * f2 - origin[i], from_float16(r3[i]) * f3 - origin[i]
        totals[0, i] += w0 * d0 + w1 * d1 + w2 * d2 + w3 * d3


@njit(**EXACT)
def _add_decoded(four, width, weights, t, totals):  # type: ignore[no-untyped-def]
    """The same for all sums, two at a time, from rows four [TILE, CHUNK] that are decoded already."""
    d0, d1, d2, d3 = four[0], four[1], four[2], four[3]
    count = weights.shape[0]
    for k in range(0, count - 1, 2):
        w0, w1, w2, w3 = weights[k, t], weights[k, t + 1], weights[k, t + 2], weights[k, t + 3]
        v0, v1, v2, v3 = weights[k + 1, t], weights[k + 1, t + 1], weights[k + 1, t + 2], weights[k + 1, t + 3]
        one, two = totals[k], totals[k + 1]
        for i in range(width):
            a, b, c, d = np.float64(d0[i]), np.float64(d1[i]), np.float64(d2[i]), np.float64(d3[i])
            one[i] += w0 * a + w1 * b + w2 * c + w3 * d
            two[i] += v0 * a + v1 * b + v2 * c + v3 * d
    if count % 2:
        w0, w1, w2, w3 = weights[-1, t], weights[-1, t + 1], weights[-1, t + 2], weights[-1, t + 3]
        total = totals[-1]
        for i in range(width):
            total[i] += w0 * d0[i] + w1 * d1[i] + w2 * d2[i] + w3 * d3[i]


@njit(**EXACT)
def sum_block(  # type: ignore[no-untyped-def]
    handles, positions, kind, scales, base_kind, start, stop, group, kept, filled, raw, base_raw,
    subtract, onto, weights, four, totals, out,
):  # fmt: skip
    """out[k] = theta_0 (if `onto`) + sum_t weights[k, t] delta_t over the columns [start, stop), in float64, rounded
    once to float32.

    Arguments as for kernels_gram.gram_block, but base_kind is that of theta_0 always, and `subtract` says whether the
    rows are weights; weights [K, T padded] float64; buffers four [TILE, CHUNK] float32 and totals [K, CHUNK] float64;
    out [K, stop - start] float32. A column whose sum is zero keeps theta_0 exactly, its sign of zero included. A sum
    is the same bits whatever other sums are asked for. Returns as gram_block.
    """
    count, several = len(handles) - 1, weights.shape[0] > 1
    nothing, unit = np.zeros(CHUNK, np.float32), np.ones(1, np.float32)
    origin = np.zeros(CHUNK, np.float32)
    none = np.float32(0.0)
    item, base = item_of(kind), np.int64(base_raw.ctypes.data)
    whole = count // TILE * TILE
    for grouped in range(start, stop, group):
        wide = min(group, stop - grouped)
        stride = item * wide
        address = np.int64(raw.ctypes.data) + (count * item * grouped if kept else 0)
        failed = load(handles, positions, kind, base_kind, grouped, wide, address, base, not filled)
        if failed >= 0:
            return failed
        for begin in range(0, wide, CHUNK):
            width = min(CHUNK, wide - begin)
            column = grouped + begin - start
            decode(base, base_kind, unit, begin, 0, width, nothing, none, nothing, origin)
            taken = origin if subtract else nothing
            totals[:] = 0.0
            for t in range(0, count, TILE):
                at = address + t * stride
                # One sum decodes on the way; several share what is decoded once.
                if kind == 1 and t < whole and not several:
                    _add_bfloat16(at, stride, begin, width, weights, t, taken, totals)
                elif kind == 2 and t < whole and not several:
                    _add_float16(at, stride, begin, width, weights, t, scales, taken, totals)
                else:
                    for row in range(t, min(t + TILE, count)):
                        place = four[row - t]
                        decode(
                            address + row * stride, kind, scales[row], begin, column, width, taken, none, nothing, place
                        )
                    for row in range(count, t + TILE):
                        four[row - t] = 0.0
                    _add_decoded(four, width, weights, t, totals)
            under = origin if onto else nothing
            for k in range(weights.shape[0]):
                total = totals[k]
                moved = out[k, column : column + width]
                for i in range(width):
                    moved[i] = under[i] if total[i] == 0.0 else np.float32(np.float64(under[i]) + total[i])
    return -1
