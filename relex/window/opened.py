"""The rows of one tensor with open files, and the values in them."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relex.core.errors import CorruptArtifact, InputError
from relex.window.kernels import decode as kernels
from relex.window.rows import Rows

Singles = NDArray[np.float32]
Block = tuple[int, int]  # columns [start, stop)

_LOOK = 1 << 16  # columns decoded at once where values themselves are looked at


class Handles:
    """Open files, each shared by all tensors that are open and closed with the last of them."""

    def __init__(self) -> None:
        self._files: dict[Path, tuple[int, int]] = {}  # handle, and how many use it

    def open(self, path: Path, stack: contextlib.ExitStack) -> int:
        """A handle of the file, until the stack is left; InputError where it cannot be read."""
        handle, users = self._files.get(path, (-1, 0))
        if not users:
            try:
                handle = os.open(path, os.O_RDONLY)
            except OSError as error:
                raise InputError("the file cannot be read", where=path, found=error.strerror) from None
        self._files[path] = (handle, users + 1)
        stack.callback(self._close, path)
        return handle

    def _close(self, path: Path) -> None:
        handle, users = self._files.pop(path)
        if users > 1:
            self._files[path] = (handle, users - 1)
        else:
            os.close(handle)


@dataclass
class Opened:
    """The rows of one tensor with open files. kept [T * d * item] uint8, or None: where the rows are kept once read.

    A block of columns [start, stop) is kept at T * item * start, in the arithmetic's own order.
    """

    rows: Rows
    handles: NDArray[np.int32]
    kept: NDArray[np.uint8] | None = None
    filled: bool = False
    running: list[Future[Any]] = field(default_factory=list)
    waiting: list[deque[Block]] = field(default_factory=list)  # blocks that no thread has taken yet

    @cached_property
    def positions(self) -> NDArray[np.int64]:
        return np.array(self.rows.starts, np.int64)

    def check(self, failed: int) -> None:
        """Raise for a row that could not be read; -1 says none."""
        if failed >= 0:
            try:
                os.pread(self.handles[failed], 1, self.rows.starts[failed])
            except OSError as error:
                found = error.strerror or "an error"
                raise InputError("the file cannot be read", where=self.rows.paths[failed], found=found) from None
            raise CorruptArtifact("the file ends early", where=f"{self.rows.paths[failed]}: {self.rows.name}")

    @property
    def cached(self) -> bool:
        """Whether the page cache seems to hold the rows, by a look at the first and the last."""
        length = self.rows.numel * self.rows.item
        return all(in_page_cache(int(self.handles[at]), self.rows.starts[at], length) for at in (0, -2))


def deltas(opened: Opened, block: Block) -> Singles:
    """The deltas [T, columns] float32 of one block themselves."""
    rows, (start, stop) = opened.rows, block
    out = np.empty((rows.count, stop - start), np.float32)
    raw = np.empty(rows.count * (stop - start) * rows.item, np.uint8)
    base_kind = rows.base_kind if rows.subtract else kernels.KIND_ZERO
    base_raw = np.empty((stop - start) * 4, np.uint8)
    scales = rows.scales_of(start, stop)
    failed = kernels.decode_block(
        opened.handles, opened.positions, rows.kind, scales, base_kind, start, stop, raw, base_raw, out
    )
    opened.check(failed)
    return out


def bad_values(opened: Opened) -> InputError:
    """The error for the first row that holds NaN or Inf."""
    rows = opened.rows
    bad = np.zeros(rows.count, np.int64)
    for start in range(0, rows.numel, _LOOK):
        block = (start, min(start + _LOOK, rows.numel))
        bad += (~np.isfinite(deltas(opened, block))).sum(axis=1)
    for path, count in zip(rows.paths, bad, strict=False):  # theta_0 is the last of the paths
        if count:
            return InputError(
                "NaN or infinite values in a delta",
                where=f"{path}: {rows.name}",
                found=f"{count} of {rows.numel}",
                todo="the run diverged or the file is damaged: use the steps before it",
            )
    return InputError("deltas too large to square", where=f"{rows.paths[-2]}: {rows.name}")


def in_page_cache(handle: int, start: int, length: int) -> bool:
    """Whether the page cache seems to hold `length` bytes of an open file from `start` on, by a look at both ends.

    False where the system cannot say (not Linux, or a file system without reads that do not wait).
    """
    flag = getattr(os, "RWF_NOWAIT", None)
    if flag is None:
        return False
    one = bytearray(1)
    places = {start, start + length - 1} if length else set()
    try:
        return all(os.preadv(handle, [one], place, flag) == 1 for place in sorted(places))
    except OSError:
        return False
