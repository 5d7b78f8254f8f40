"""Writing captured steps in the background: training waits only when the queue is full."""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping

import torch

from relex.trajectory.writer import TrajectoryWriter

Deltas = Mapping[str, torch.Tensor]
_WAITING = 1  # steps that may wait while one is written; each holds a whole delta in memory


class StepQueue:
    """Appends steps to a trajectory on a thread of its own, in order. After a failed step nothing more is written, and
    the error is raised by the next call."""

    def __init__(self, writer: TrajectoryWriter):
        self._writer = writer
        self._queue: queue.Queue[tuple[int, Deltas, float | None] | None] = queue.Queue(_WAITING)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="relex-capture", daemon=True)
        self._thread.start()

    def put(self, step: int, deltas: Deltas, reward: float | None = None) -> None:
        """Hand over one step: float32 deltas on the processor, which must not be changed afterwards."""
        self._check()
        self._queue.put((step, deltas, reward))

    def flush(self) -> None:
        """Wait until everything that was put is complete on disk."""
        self._queue.join()
        self._check()

    def close(self) -> None:
        """flush() and end the thread."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        self._check()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while self._write_next():
            pass

    def _write_next(self) -> bool:
        """Whether there may be more. A turn of its own: what it wrote is let go of while the next step is awaited."""
        item = self._queue.get()
        try:
            if item is None:
                return False
            if self._error is None:
                step, deltas, reward = item
                self._writer.append(step, deltas, reward=reward)
        except BaseException as error:  # raised where training can act on it
            self._error = error
        finally:
            self._queue.task_done()
        return True
