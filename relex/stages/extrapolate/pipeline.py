"""Overlapping the work on several tensors: while one's sums are formed, the next one's rows are already read."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType

Work = Iterator[None]  # yields wherever it has left something to the threads and would wait for it next

_DONE = object()


class Pipeline:
    """Works in flight, the older ones further on. A context manager.

    Leaving it finishes them all; leaving it by an error closes them, the newest first.
    """

    def __init__(self, ahead: int = 1):
        """ahead: works that are begun before an older one is waited for; so many keep the threads busy."""
        self.flying: list[Work] = []  # the newest first
        self._ahead = ahead

    def start(self, work: Work) -> None:
        """Begin a work, then take those that are not among the newest `ahead` a stage further."""
        self.flying.insert(0, work)
        self._step([work, *self.flying[self._ahead :]])

    def advance(self) -> None:
        """Take all works a stage further."""
        self._step(list(self.flying))

    def _step(self, works: list[Work]) -> None:
        for work in works:
            if next(work, _DONE) is _DONE:
                self.flying.remove(work)

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            while kind is None and self.flying:
                self.advance()
        finally:
            for work in self.flying:
                work.close()  # type: ignore[attr-defined]
