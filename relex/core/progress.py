"""Signs of life of what takes long: what it is, at once, and how far it is at least once a minute.

Bars go to the standard error, also where that is no terminal: a night passes their states on (flows/process.py).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

EVERY = 30.0  # seconds between two signs
_QUICK = 2.0  # seconds; what is done sooner needs no bar

_Item = TypeVar("_Item")


@contextlib.contextmanager
def at(what: str, every: float = EVERY) -> Iterator[None]:
    """Say that `what` begins, and for as long as the body runs that it goes on. every: seconds."""
    print(f"{what} ...", flush=True)
    began = time.monotonic()
    with _again(every, lambda: print(f"{what}: {time.monotonic() - began:.0f} s so far", flush=True)):
        yield


def bar(items: Iterable[_Item], desc: str, unit: str, total: int | None = None) -> Iterator[_Item]:
    """The items, with a bar that moves while one of them takes long. total: where `items` has no length."""
    with tqdm(items, desc=desc, unit=unit, total=total, mininterval=_QUICK, delay=_QUICK) as shown, kept_alive(shown):
        yield from shown


@contextlib.contextmanager
def kept_alive(shown: tqdm[_Item], every: float = EVERY) -> Iterator[None]:
    """While the body runs, show a bar again now and then, with the seconds so far: it does so itself only when it
    moves. every: seconds."""
    with _again(every, shown.refresh):
        yield


@contextlib.contextmanager
def _again(every: float, act: Callable[[], object]) -> Iterator[None]:
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(every):
            act()

    thread = threading.Thread(target=run, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
