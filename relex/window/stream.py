"""Passing over a window tensor by tensor, in blocks of columns, on several threads, within a memory budget.

A block's boundaries depend on the tensor alone. So the same sums are formed in the same order whatever the budget,
the number of threads or the grouping of tensors, and the output bytes are the same. A tensor whose rows fit into the
budget is read once: they are kept after the Gram matrix for the sums. A larger one is read again. Several tensors may
be open at a time, so that the threads work on one while another waits (pipeline.py).
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from relex.core.errors import InputError
from relex.forecast.directed import Directed
from relex.forecast.subspace import Array, symmetric
from relex.window.arithmetic import BLOCKS, Arithmetic, Emit, blocks_of
from relex.window.kept import Kept
from relex.window.kernels import decode as kernels
from relex.window.opened import Block, Handles, Opened, bad_values
from relex.window.rows import Window

_T = TypeVar("_T")

TOGETHER = kernels.TILE  # steps whose terms the sums of a processor add up before they come to the rest


class Stream:
    """Passes over a window. A context manager that owns the threads."""

    def __init__(self, window: Window, budget: int, arithmetic: Arithmetic, *, targets: int, threads: int = 0):
        """budget: bytes for all buffers together, for sums of up to `targets` rows. threads 0: one per usable core.

        A budget too small for one buffer per core means fewer threads; InputError when it does not hold a single one.
        """
        self.window, self.arithmetic = window, arithmetic
        self._widest = arithmetic.widest(len(window.steps))
        each = arithmetic.bytes_needed(len(window.steps), self._widest, targets)
        if budget < each:
            raise InputError("too little memory for one block", where="--memory", expected=f">= {each}", found=budget)
        wanted = threads or len(os.sched_getaffinity(0))
        self.threads = max(1, min(wanted, budget // each))
        # Every tensor in work has something to do for BLOCKS threads; one more waits behind it.
        self.ahead = max(1, self.threads // BLOCKS)
        self._kept = Kept(budget - self.threads * each)
        self._handles = Handles()
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="relex-stream")

    def has_room(self, name: str) -> bool:
        """Whether opened(keep=True) has room now for a tensor's rows; True also where they would never fit."""
        return self._kept.has_room(self.window.rows(name).nbytes)

    @contextlib.contextmanager
    def opened(self, name: str, *, keep: bool = False, which: Sequence[int] | None = None) -> Iterator[Opened]:
        """One tensor's rows (all, or those of some places in the window) for gram() and sums(). Leaving it waits for
        what still runs.

        `keep` them in memory between the two if they fit, and if they must come from storage: reading again what the
        page cache holds costs less than keeping it, by a tenth of the whole.
        """
        rows = self.window.rows(name, which)
        with contextlib.ExitStack() as stack:
            found = Opened(rows, np.array([self._handles.open(path, stack) for path in rows.paths], np.int32))
            if keep and not found.cached:
                found.kept = self._kept.take(rows.nbytes)
                if found.kept is not None:
                    stack.callback(self._kept.give, found.kept)
            stack.callback(_stop, found)
            yield found

    def gram(self, opened: Opened, known: Array | None = None, first: int = 0) -> Array:
        """G [T, T] float64; its first `first` rows are taken from `known`, the others computed.

        InputError when a delta holds NaN or Inf, naming the file, the tensor and how many.
        """
        return self.begin_gram(opened, known, first)()

    def begin_gram(self, opened: Opened, known: Array | None = None, first: int = 0) -> Callable[[], Array]:
        """Leave gram() to the threads; the function returned waits for it."""
        count = opened.rows.count
        low = first - first % kernels.TILE
        time = np.asarray(self.window.steps, np.float64)
        lead = time / time[-1]  # the straight path to the last checkpoint; see kernels/gram.py gram_block
        lead[-1] = 0.0
        blocks = blocks_of(opened.rows.numel, self._widest)
        parts = self._share(opened, blocks, lambda shared: self.arithmetic.gram(opened, shared, low, lead))

        def finish() -> Array:
            residuals, differences = np.zeros((count, count)), np.zeros((count, count))
            partials = {block: partial for part in parts for block, partial in part.result().items()}
            for block in blocks:
                found = partials[block]
                residuals += found.residuals
                if found.differences is not None:
                    differences += found.differences
            opened.filled = opened.kept is not None
            if not (np.isfinite(residuals).all() and np.isfinite(differences).all()):
                raise bad_values(opened)
            mix = np.eye(count)
            mix[:, -1] += lead
            sums = np.tri(count)
            whole = mix @ symmetric(residuals) @ mix.T + sums @ symmetric(differences) @ sums.T
            if known is not None:
                whole[:first, :first] = known[:first, :first]
            return (whole + whole.T) / 2

        return finish

    def sums(
        self, opened: Opened, weights: Directed, emit: Emit, *, onto_base: bool = True, dtype: str = "F32"
    ) -> None:
        """theta_0 + sum_i w_i delta_i (or the sum alone) for every row of the weights [K, T]; emit receives blocks,
        float32 or rounded on to a checkpoint's dtype (BF16 or F16), on any thread."""
        self.begin_sums(opened, weights, emit, onto_base=onto_base, dtype=dtype)()

    def begin_sums(
        self, opened: Opened, weights: Directed, emit: Emit, *, onto_base: bool = True, dtype: str = "F32"
    ) -> Callable[[], None]:
        """Leave sums() to the threads; the function returned waits for it."""
        blocks, sums = blocks_of(opened.rows.numel, self._widest), self.arithmetic.sums
        parts = self._share(
            opened, blocks, lambda shared: sums(opened, shared, weights, emit, onto_base=onto_base, dtype=dtype)
        )

        def finish() -> None:
            for part in parts:
                part.result()

        return finish

    def _share(
        self, opened: Opened, blocks: Sequence[Block], work: Callable[[Iterable[Block]], _T]
    ) -> list[Future[_T]]:
        """Let threads share the blocks, each taking the next one when it is free: an accelerator has several of them on
        their way at a time."""
        left = deque(blocks)

        def one() -> _T:
            try:
                return work(_taken(left))
            except BaseException:
                left.clear()  # nobody needs the rest
                raise

        parts = [self._pool.submit(one) for _ in blocks[: self.threads]]
        opened.waiting.append(left)
        opened.running += parts
        return parts

    def sums_of(self, name: str, weights: Directed, emit: Emit, *, onto_base: bool = True) -> None:
        """sums() of a tensor that is not open; steps that no row gives a weight are not read."""
        used, weights = weights.needed(TOGETHER)
        with self.opened(name, which=used) as opened:
            self.sums(opened, weights, emit, onto_base=onto_base)

    def __enter__(self) -> Stream:
        # The threads of BLAS wait for their next matrix in a loop, on the cores that these threads need.
        self._blas = threadpool_limits(1, user_api="blas")
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._blas.restore_original_limits()


def _taken(left: deque[Block]) -> Iterator[Block]:
    """The next block, while there is one."""
    while True:
        try:
            yield left.popleft()
        except IndexError:
            return


def _stop(opened: Opened) -> None:
    """Wait for what runs; what has not begun never will."""
    for left in opened.waiting:
        left.clear()
    for part in opened.running:
        part.cancel()
    wait(opened.running)
