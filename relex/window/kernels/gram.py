"""Gram products on the processor, compiled by Numba: of float32 or float64 rows, and of bfloat16 differences.

For T = 40 rows a BLAS syrk spends most of its time packing operands (a measured 50 GFlop/s a core, and a full product
wastes half); tiles of 4 x 4 rows streamed over the columns need no packing and reach 200. Products are added up over
CHUNK columns at a time in the type of the rows, beyond that in float64.
"""

from __future__ import annotations

import numpy as np
from numba import carray, njit

from relex.window.kernels.bfloat16 import LINE, tile_products
from relex.window.kernels.decode import (
    CHUNK,
    EXACT,
    LOOPS,
    TILE,
    bits_of,
    decode,
    float32_of,
    from_bfloat16,
    item_of,
    load,
    pointer,
)

PART = 1024  # columns of one pass of the tiles: eight rows of float32 take 32 KiB, within a core's first-level cache
_MANY = CHUNK // 8  # columns of a chunk without exact differences above which none of it is taken as differences


@njit(**LOOPS)
def _add_products(rows, count, first, width, zero, gram):  # type: ignore[no-untyped-def]
    """gram[i, j] += rows[i, :width] . rows[j, :width] for i >= first, j <= i (and a tile's rest)."""
    for part in range(0, width, PART):
        end = min(part + PART, width)
        for i in range(first, count, TILE):
            a0, a1 = rows[i, part:end], rows[i + 1, part:end]
            a2, a3 = rows[i + 2, part:end], rows[i + 3, part:end]
            for j in range(0, i + 1, TILE):
                b0, b1 = rows[j, part:end], rows[j + 1, part:end]
                b2, b3 = rows[j + 2, part:end], rows[j + 3, part:end]
                s00 = s01 = s02 = s03 = zero
                s10 = s11 = s12 = s13 = zero
                s20 = s21 = s22 = s23 = zero
                s30 = s31 = s32 = s33 = zero
                for k in range(end - part):
                    x0, x1, x2, x3 = a0[k], a1[k], a2[k], a3[k]
                    y0, y1, y2, y3 = b0[k], b1[k], b2[k], b3[k]
                    s00 += x0 * y0
                    s01 += x0 * y1
                    s02 += x0 * y2
                    s03 += x0 * y3
                    s10 += x1 * y0
                    s11 += x1 * y1
                    s12 += x1 * y2
                    s13 += x1 * y3
                    s20 += x2 * y0
                    s21 += x2 * y1
                    s22 += x2 * y2
                    s23 += x2 * y3
                    s30 += x3 * y0
                    s31 += x3 * y1
                    s32 += x3 * y2
                    s33 += x3 * y3
                gram[i, j] += s00
                gram[i, j + 1] += s01
                gram[i, j + 2] += s02
                gram[i, j + 3] += s03
                gram[i + 1, j] += s10
                gram[i + 1, j + 1] += s11
                gram[i + 1, j + 2] += s12
                gram[i + 1, j + 3] += s13
                gram[i + 2, j] += s20
                gram[i + 2, j + 1] += s21
                gram[i + 2, j + 2] += s22
                gram[i + 2, j + 3] += s23
                gram[i + 3, j] += s30
                gram[i + 3, j + 1] += s31
                gram[i + 3, j + 2] += s32
                gram[i + 3, j + 3] += s33


@njit(**EXACT)
def _residuals(address, stride, kind, scales, begin, column, width, origin, lead, none, nothing, scratch):  # type: ignore[no-untyped-def]
    """scratch[t] = delta_t - lead[t] delta_T, and delta_T itself in the last row; rows `stride` bytes apart."""
    count = len(lead)
    last = scratch[count - 1]
    decode(address + (count - 1) * stride, kind, scales[count - 1], begin, column, width, origin, none, nothing, last)
    for t in range(count - 1):
        decode(address + t * stride, kind, scales[t], begin, column, width, origin, lead[t], last, scratch[t])


@njit(**LOOPS)
def gram_block(  # type: ignore[no-untyped-def]
    handles, positions, kind, scales, base_kind, start, stop, group, kept, filled, raw, base_raw,
    first, lead, scratch, zero, gram,
):  # fmt: skip
    """gram[i, j] += sum over the columns [start, stop) of x_i x_j, for rows i >= first, j <= i (and a tile's rest).

    x_T = delta_T, and x_t = delta_t - lead[t] delta_T before it: what is left beside the straight path to the last
    checkpoint. Its products are small where those of the deltas are large and nearly equal, so float32 keeps the
    small singular values.

    scales [T, S] float32 from column `start` on; base_kind: KIND_ZERO where the rows are deltas already. group:
    columns read at a time, a multiple of CHUNK. kept: raw [T * d * item] uint8 holds the whole tensor, and `filled`
    says that it does already; otherwise raw [T * group * item] is a buffer. base_raw [group * 4] uint8. first: a
    multiple of TILE; lead [T], zero and scratch (scratch_for) of one type; gram [T padded, T padded] float64.
    Returns -1, or the row that could not be read (T for theta_0).
    """
    count = len(handles) - 1
    nothing, unit = np.zeros(CHUNK, np.float32), np.ones(1, np.float32)
    origin = np.zeros(CHUNK, np.float32)
    none = zero * zero
    item, base = item_of(kind), np.int64(base_raw.ctypes.data)
    for grouped in range(start, stop, group):
        wide = min(group, stop - grouped)
        address = np.int64(raw.ctypes.data) + (count * item * grouped if kept else 0)
        failed = load(handles, positions, kind, base_kind, grouped, wide, address, base, not filled)
        if failed >= 0:
            return failed
        for begin in range(0, wide, CHUNK):
            width = min(CHUNK, wide - begin)
            decode(base, base_kind, unit, begin, 0, width, nothing, np.float32(0.0), nothing, origin)
            column = grouped + begin - start
            _residuals(address, item * wide, kind, scales, begin, column, width, origin, lead, none, nothing, scratch)
            _add_products(scratch, count, first, width, zero, gram)
    return -1


@njit(**EXACT)
def _differences(address, stride, base, begin, pairs, differences, inexact):  # type: ignore[no-untyped-def]
    """differences[t] [pairs] uint32: theta_t - theta_(t-1) of two columns as bfloat16, as they are stored, zero up to
    the next LINE of columns; inexact [pairs] uint32: zero in a column's half where all of its differences are exact."""
    up, low, high = np.uint32(16), np.uint32(0xFFFF), np.uint32(0xFFFF0000)
    for i in range(pairs):
        inexact[i] = 0
    before = base
    for t in range(differences.shape[0]):
        held = differences[t]
        after = address + t * stride
        now = carray(pointer(after + 2 * begin), (pairs,), np.uint32)
        then = carray(pointer(before + 2 * begin), (pairs,), np.uint32)
        for i in range(pairs):
            even = bits_of(float32_of(now[i] << up) - float32_of(then[i] << up))
            odd = bits_of(float32_of(now[i] & high) - float32_of(then[i] & high))
            inexact[i] |= (odd << up) | (even & low)
            held[i] = (odd & high) | (even >> up)
        for i in range(pairs, -(-2 * pairs // LINE) * LINE // 2):
            held[i] = 0
        before = after


@njit(**EXACT)
def _set_aside(address, stride, base, begin, columns, aside, lead, origin, differences, scratch, held):  # type: ignore[no-untyped-def]
    """Move the columns[:aside] of a chunk, whose differences are not exact, to scratch[:, held:] as residuals (see
    gram_block). Row by row: a column's values lie far apart. origin [CHUNK] float32 is a buffer."""
    count = len(lead)
    start = carray(pointer(base + 2 * begin), (CHUNK,), np.uint16)
    for at in range(aside):
        origin[at] = from_bfloat16(start[columns[at]])
    last = scratch[count - 1, held : held + aside]
    for back in range(count):
        t = count - 1 - back
        row = carray(pointer(address + t * stride + 2 * begin), (CHUNK,), np.uint16)
        place, gone = scratch[t, held : held + aside], differences[t]
        for at in range(aside):
            place[at] = from_bfloat16(row[columns[at]]) - origin[at]
            gone[columns[at]] = 0
        if back:
            for at in range(aside):
                place[at] -= lead[t] * last[at]


@njit(**LOOPS)
def difference_gram_block(  # type: ignore[no-untyped-def]
    handles, positions, scales, start, stop, group, kept, filled, raw, base_raw,
    lead, scratch, differences, inexact, tile, gram, steps_gram,
):  # fmt: skip
    """gram_block for bfloat16 checkpoints of a bfloat16 base, from the differences e_t = theta_t - theta_(t-1).

    The difference of two bfloat16 numbers within a factor of two of each other is a bfloat16 number (Sterbenz), and
    processors that multiply bfloat16 do so at twice the rate of float32. steps_gram[i, j] += sum of e_i e_j over the
    columns where all differences are exact; the others (near zero; as a rule one to a few per cent) go to gram as
    gram_block has it. With S the lower triangle of ones, their part of G is S steps_gram S^T.

    differences [T, CHUNK + LINE] uint16 and inexact [CHUNK] uint16 are buffers, tile [TILE * TILE] float32; the rest as
    for gram_block, in float32, with first = 0. Columns are taken in pairs: the last group of a tensor of odd size goes
    to gram as a whole.
    """
    count = len(handles) - 1
    nothing, zero = np.zeros(CHUNK, np.float32), np.float32(0.0)
    origin, unit = np.zeros(CHUNK, np.float32), np.ones(1, np.float32)
    columns = np.zeros(CHUNK, np.uint16)
    base, first, row = np.int64(base_raw.ctypes.data), np.int64(differences.ctypes.data), differences.strides[0]
    two_by_two = differences[:count].view(np.uint32)
    held = 0
    for grouped in range(start, stop, group):
        wide = min(group, stop - grouped)
        address = np.int64(raw.ctypes.data) + (count * 2 * grouped if kept else 0)
        failed = load(handles, positions, 1, 1, grouped, wide, address, base, not filled)
        if failed >= 0:
            return failed
        for begin in range(0, wide, CHUNK):
            width = min(CHUNK, wide - begin)
            aside = 0
            if wide % 2:
                aside = CHUNK
            else:
                _differences(address, 2 * wide, base, begin, width // 2, two_by_two, inexact.view(np.uint32))
                for i in range(width):
                    columns[aside] = i
                    aside += inexact[i] != 0
            if held + aside > CHUNK or aside > _MANY:
                _add_products(scratch, count, 0, held, zero, gram)
                held = 0
            if aside > _MANY:
                decode(base, 1, unit, begin, 0, width, nothing, zero, nothing, origin)
                _residuals(address, 2 * wide, 1, scales, begin, 0, width, origin, lead, zero, nothing, scratch)
                _add_products(scratch, count, 0, width, zero, gram)
                continue
            _set_aside(address, 2 * wide, base, begin, columns, aside, lead, origin, differences, scratch, held)
            held += aside
            lines = np.int64(-(-width // LINE))
            for i in range(0, count, TILE):
                for j in range(0, i + 1, TILE):
                    tile_products(first + i * row, first + j * row, np.int64(row), lines, tile)
                    for p in range(TILE):
                        for q in range(TILE):
                            steps_gram[i + p, j + q] += tile[TILE * p + q]
    _add_products(scratch, count, 0, held, zero, gram)
    return -1
