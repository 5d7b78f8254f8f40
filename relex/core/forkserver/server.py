"""Templates that fork whenever they are asked: python -m relex.core.forkserver.server FOLDER [NAME[@]=]MODULE,... ...

Each NAME is a template: a process that listens at a socket of that name in the folder, and imports the modules. Modules
without a NAME are imported before the templates that stand behind them. The last template is this process itself, the
others are its children. MODULE:CALL calls something of a module, too. Whoever asks is answered between two imports,
with what is there by then. A NAME with an @ imports nothing before the last template has imported everything, and of
several each waits for the one before it: what is needed late does not take the processor from what is needed first.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import socket
import sys
import traceback
from typing import NoReturn

from relex.core.descendants import adopt, end_strangers, reap
from relex.core.forkserver.ask import LOADED
from relex.core.forkserver.keeper import keep
from relex.core.forkserver.surroundings import surroundings
from relex.core.pipes import die_with

_SECONDS = 1.0  # between two looks at processes that have ended
_POLL_SECONDS = 0.1  # between two looks whether another template has imported everything
_LATE = "@"


class Template:
    """One template in this process. ours: the surroundings before anything was imported."""

    def __init__(self, folder: int, name: str):
        self.ours = surroundings()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # By its folder's handle: the path of a socket has 107 bytes at most.
        self._listener.bind(f"/proc/self/fd/{folder}/{name}")
        self._listener.listen(64)
        self.children: set[int] = set()  # keepers, and other templates
        self._ended = False  # whether one has, so that something of it may have been left

    def close(self) -> None:
        """In a process that is another template."""
        self._listener.close()

    def answer(self, seconds: float) -> None:
        """Fork for whoever asks; wait for the first so long. Ends what a keeper that was killed has left."""
        self._look_after()
        while select.select([self._listener], [], [], seconds)[0]:
            connection, _ = self._listener.accept()
            mine, imported = os.getpid(), self._imported()
            keeper = os.fork()
            if keeper == 0:
                self._listener.close()
                try:
                    keep(connection, mine, self.ours, imported)
                except BaseException:
                    traceback.print_exc()
                os._exit(1)
            self.children.add(keeper)
            connection.close()
            seconds = 0.0

    def _look_after(self) -> None:
        ended = set(reap()) & self.children
        self.children -= ended
        self._ended = bool(ended) or self._ended
        # What such a process had started comes to this one only once it has ended itself.
        if self._ended:
            self._ended = end_strangers(self.children) or bool(ended)

    def _imported(self) -> dict[str, str]:
        before = self.ours["variables"]
        return {name: value for name, value in os.environ.items() if before.get(name) != value}

    def load(self, names: list[str]) -> None:
        """Import modules, answering in between. What cannot be imported here is left to whoever needs it."""
        for name in names:
            module, _, call = name.partition(":")
            try:
                found = importlib.import_module(module)
                if call:
                    getattr(found, call)()
            except Exception:
                traceback.print_exc()
            self.answer(0.0)

    def wait_for(self, other: str, folder: int) -> None:
        """Until that template has imported everything, answering."""
        while not _has_loaded(other, folder):
            self.answer(_POLL_SECONDS)

    def serve(self) -> NoReturn:
        """Answer until killed."""
        gc.collect()
        gc.freeze()  # what is shared with forked processes stays shared
        while True:
            self.answer(_SECONDS)


def main(place: str, arguments: list[str]) -> NoReturn:
    """Load and serve until killed."""
    _prepare_titles()
    plan = [(name, modules.split(",")) for name, _, modules in (argument.rpartition("=") for argument in arguments)]
    late = [name.removesuffix(_LATE) for name, _ in plan if name.endswith(_LATE)]
    plan = [(name.removesuffix(_LATE), modules) for name, modules in plan]
    folder = os.open(place, os.O_PATH)
    templates = {name: Template(folder, name) for name, _ in plan if name}
    adopt()
    mine, last = os.getpid(), templates[plan[-1][0]]
    before = dict(zip(late, [plan[-1][0], *late], strict=False))
    for name, modules in plan:
        one = templates.get(name, last)
        if one is last:
            last.load(modules)
        elif child := os.fork():
            last.children.add(child)
            one.close()
        else:
            die_with(mine)
            adopt()
            for other in templates.values():
                if other is not one:
                    other.close()
            if name in late:
                one.wait_for(before[name], folder)
            one.load(modules)
            _note_loaded(name, folder)
            one.serve()
    _note_loaded(plan[-1][0], folder)
    last.serve()


def _note_loaded(name: str, folder: int) -> None:
    os.close(os.open(name + LOADED, os.O_CREAT | os.O_WRONLY, dir_fd=folder))


def _has_loaded(name: str, folder: int) -> bool:
    try:
        os.stat(name + LOADED, dir_fd=folder)
    except FileNotFoundError:
        return False
    return True


def _prepare_titles() -> None:
    """Let forked processes have a title each: the library must see the first environment, and must not write over it,
    as /proc shows it to whoever asks what a process was started with (surroundings.py)."""
    os.environ["SPT_NOENV"] = "1"
    with contextlib.suppress(ImportError):  # only what `ps` shows
        from setproctitle import getproctitle

        getproctitle()
    del os.environ["SPT_NOENV"]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
