"""Work left to a device in order and waited for later: CUDA's streams, events and page-locked memory.

On the device `cpu` a queue is a plain one. It is gone through when somebody waits, as late as a device may get to it: a
buffer filled again too early, or a result read too early, gives wrong values there as well.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

import torch

Operation = Callable[[], None]


class Mark(Protocol):
    """A place in a queue."""

    def wait(self) -> None:
        """Return when all that was put before it has been done."""
        ...


class Queue(Protocol):
    """Operations that are done one after another, while this thread goes on. For one thread."""

    def put(self, operation: Operation) -> None:
        """What it makes on the device, and lets go, is the queue's own; it must not wait for the device."""
        ...

    def send(self, there: torch.Tensor, here: torch.Tensor) -> None:
        """Copy page-locked memory to the device's; `here` must stay as it is until a mark after this was waited for."""
        ...

    def mark(self) -> Mark:
        """The place behind all that was put so far."""
        ...

    def after(self, mark: Mark) -> None:
        """What is put from here on begins after a mark of another queue of the same device."""
        ...

    def finish(self) -> None:
        """Leave nothing in it: wait, or drop what has not begun."""
        ...


class Queues(Protocol):
    """A device: its queues, and memory for them."""

    place: torch.device

    def new(self) -> Queue:
        """Another queue."""
        ...

    def page_locked(self, size: int) -> torch.Tensor:
        """Bytes [size] uint8 here, which the device copies from and to by itself."""
        ...

    def on_device(self, size: int, queue: Queue) -> torch.Tensor:
        """Bytes [size] uint8 there, first used by that queue."""
        ...


def queues_of(device: str) -> Queues:
    """Those of `cpu` or `cuda`."""
    return _CudaQueues() if device == "cuda" else _PlainQueues()


def page_locked_bytes(size: int) -> int:
    """What page_locked(size) takes: torch rounds such memory up to a power of two."""
    return 1 << max(size - 1, 0).bit_length()


class _CudaQueues:
    def __init__(self) -> None:
        self.place = torch.device("cuda", torch.cuda.current_device())

    def new(self) -> Queue:
        return _Stream(self.place)

    def page_locked(self, size: int) -> torch.Tensor:
        return torch.empty(size, dtype=torch.uint8, pin_memory=True)

    def on_device(self, size: int, queue: Queue) -> torch.Tensor:
        found = list[torch.Tensor]()
        # The allocator hands memory out again in the order of the stream that it was asked for on.
        queue.put(lambda: found.append(torch.empty(size, dtype=torch.uint8, device=self.place)))
        return found[0]


class _Stream:
    def __init__(self, place: torch.device):
        self._stream = torch.cuda.Stream(place)

    def put(self, operation: Operation) -> None:
        with torch.cuda.stream(self._stream):
            operation()

    def send(self, there: torch.Tensor, here: torch.Tensor) -> None:
        self.put(lambda: _copy(there, here))

    def mark(self) -> Mark:
        event = _Event(torch.cuda.Event(blocking=True))  # a thread that waits sleeps: others need the core
        event.event.record(self._stream)
        return event

    def after(self, mark: Mark) -> None:
        assert isinstance(mark, _Event)
        self._stream.wait_event(mark.event)

    def finish(self) -> None:
        self._stream.synchronize()


class _Event:
    def __init__(self, event: torch.cuda.Event):
        self.event = event

    def wait(self) -> None:
        self.event.synchronize()


class _PlainQueues:
    place = torch.device("cpu")

    def new(self) -> Queue:
        return _Plain()

    def page_locked(self, size: int) -> torch.Tensor:
        return torch.empty(size, dtype=torch.uint8)

    def on_device(self, size: int, queue: Queue) -> torch.Tensor:
        return torch.empty(size, dtype=torch.uint8)


class _Plain:
    def __init__(self) -> None:
        self._left, self._given = deque[Operation](), 0

    def put(self, operation: Operation) -> None:
        self._left.append(operation)
        self._given += 1

    def send(self, there: torch.Tensor, here: torch.Tensor) -> None:
        self.put(lambda: _copy(there, here))

    def mark(self) -> Mark:
        return _Place(self, self._given)

    def after(self, mark: Mark) -> None:
        self.put(mark.wait)

    def finish(self) -> None:
        self._left.clear()

    def reach(self, number: int) -> None:
        """Go through the first `number` operations that were ever put."""
        while self._left and self._given - len(self._left) < number:
            self._left.popleft()()


class _Place:
    def __init__(self, queue: _Plain, number: int):
        self._queue, self._number = queue, number

    def wait(self) -> None:
        self._queue.reach(self._number)


def _copy(there: torch.Tensor, here: torch.Tensor) -> None:
    there.copy_(here, non_blocking=True)
