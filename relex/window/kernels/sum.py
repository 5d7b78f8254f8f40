"""Weighted sums of deltas on the processor, compiled by Numba."""

from __future__ import annotations

import numpy as np
from numba import carray, njit

from relex.window.kernels.decode import CHUNK, EXACT, TILE, decode, float32_of, from_float16, item_of, load, pointer


@njit(**EXACT)
def _four_rows(at, stride, t, count, width, kind):  # type: ignore[no-untyped-def]
    """The rows t to t + 3, `width` values of type `kind`; at: address in the first row. The last row stands for those
    missing, whose weights are zero."""
    r0 = carray(pointer(at + t * stride), (width,), kind)
    r1 = carray(pointer(at + min(t + 1, count - 1) * stride), (width,), kind)
    r2 = carray(pointer(at + min(t + 2, count - 1) * stride), (width,), kind)
    r3 = carray(pointer(at + min(t + 3, count - 1) * stride), (width,), kind)
    return r0, r1, r2, r3


@njit(**EXACT)
def _add_bfloat16(rows, pairs, weights, t, even, odd):  # type: ignore[no-untyped-def]
    """even[i] and odd[i] += weights[0, t] theta_t + .. + weights[0, t + 3] theta_(t + 3) of the columns 2 i and
    2 i + 1, decoded on the way; rows: four of uint32 [pairs], two bfloat16 each. Nothing needs to be spread out."""
    r0, r1, r2, r3 = rows
    w0, w1, w2, w3 = weights[0, t], weights[0, t + 1], weights[0, t + 2], weights[0, t + 3]
    up, high = np.uint32(16), np.uint32(0xFFFF0000)
    for i in range(pairs):
        a, b, c, d = r0[i], r1[i], r2[i], r3[i]
        even[i] += (
            w0 * float32_of(a << up) + w1 * float32_of(b << up) + w2 * float32_of(c << up) + w3 * float32_of(d << up)
        )
        odd[i] += (
            w0 * float32_of(a & high)
            + w1 * float32_of(b & high)
            + w2 * float32_of(c & high)
            + w3 * float32_of(d & high)
        )


@njit(**EXACT)
def _add_float16(rows, width, weights, t, totals):  # type: ignore[no-untyped-def]
    """totals[0, i] += the same sum of column i; rows: four of uint16 [width], one float16 each."""
    r0, r1, r2, r3 = rows
    w0, w1, w2, w3 = weights[0, t], weights[0, t + 1], weights[0, t + 2], weights[0, t + 3]
    for i in range(width):
        a, b, c, d = from_float16(r0[i]), from_float16(r1[i]), from_float16(r2[i]), from_float16(r3[i])
        totals[0, i] += w0 * a + w1 * b + w2 * c + w3 * d


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
    subtract, onto, weights, which, amounts, four, pairs, totals, out,
):  # fmt: skip
    """out[k] = theta_0 (if `onto`) + amounts[k] sum_t weights[which[k], t] delta_t over the columns [start, stop), in
    float64, rounded once to float32.

    Arguments as for gram.gram_block, but base_kind is that of theta_0 always, and `subtract` says whether the rows are
    checkpoints theta_t: their sum then loses theta_0 times the sum of the weights, which float64 has digits for.
    Weights [M, T padded] float64, for KIND_FLOAT16 with the rows' scales in them; which [K] int64 and amounts [K]
    float64. Buffers: four [TILE, CHUNK] float32, pairs [2, CHUNK / 2] and totals [M, CHUNK] float64. out [K, stop -
    start] float32. A column whose sum is zero keeps theta_0 exactly, its sign of zero included. A sum is the same bits
    whatever other sums are asked for. Returns as gram_block.
    """
    count, single = len(handles) - 1, weights.shape[0] == 1
    nothing, unit = np.zeros(CHUNK, np.float32), np.ones(1, np.float32)
    origin = np.zeros(CHUNK, np.float32)
    none = np.float32(0.0)
    item, base = item_of(kind), np.int64(base_raw.ctypes.data)
    for grouped in range(start, stop, group):
        wide = min(group, stop - grouped)
        stride = item * wide
        address = np.int64(raw.ctypes.data) + (count * item * grouped if kept else 0)
        failed = load(handles, positions, kind, base_kind, grouped, wide, address, base, not filled)
        if failed >= 0:
            return failed
        by_pairs = single and kind == 1 and wide % 2 == 0
        for begin in range(0, wide, CHUNK):
            width = min(CHUNK, wide - begin)
            column = grouped + begin - start
            decode(base, base_kind, unit, begin, 0, width, nothing, none, nothing, origin)
            totals[:] = 0.0
            if by_pairs:
                pairs[:] = 0.0
            for t in range(0, count, TILE):
                # One sum decodes on the way; several share what is decoded once.
                if by_pairs:
                    rows = _four_rows(address + 2 * begin, stride, t, count, width // 2, np.uint32)
                    _add_bfloat16(rows, width // 2, weights, t, pairs[0], pairs[1])
                elif single and kind == 2:
                    rows = _four_rows(address + 2 * begin, stride, t, count, width, np.uint16)
                    _add_float16(rows, width, weights, t, totals)
                else:
                    for row in range(t, min(t + TILE, count)):
                        scale, at = unit if kind == 2 else scales[row], address + row * stride
                        decode(at, kind, scale, begin, column, width, nothing, none, nothing, four[row - t])
                    for row in range(count, t + TILE):
                        four[row - t] = 0.0
                    _add_decoded(four, width, weights, t, totals)
            if by_pairs:
                for i in range(width // 2):
                    totals[0, 2 * i], totals[0, 2 * i + 1] = pairs[0, i], pairs[1, i]
            under = origin if onto else nothing
            for k in range(len(which)):
                total, amount = totals[which[k]], amounts[k]
                whole = np.sum(weights[which[k]]) if subtract else 0.0
                moved = out[k, column : column + width]
                for i in range(width):
                    delta = total[i] - whole * origin[i]
                    moved[i] = under[i] if delta == 0.0 else np.float32(np.float64(under[i]) + amount * delta)
    return -1
