"""Where an engine finds its interpreter, and where it leaves what lasts no longer than it: in the project's state.

Not every path will do. The dynamic loader takes a space in LD_PRELOAD, which vLLM sets to a file of the environment,
for the end of a name, and torch's C++ compiler takes it for the end of an argument; the path of a socket has 107 bytes
at most. Where the environment or the project lies at such a path, the engine is shown a link to it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from relex.core.atomic import scratch_folder
from relex.core.digest import json_sha256
from relex.core.errors import InputError
from relex.core.workspace import STATE

_COMPILED = "compiled"  # a folder of the state: a cache by content: an engine need not compile what one before it did
SHARED = "RELEX_COMPILED"  # environment variable: a folder for it that several projects share
_LONGEST = 60  # characters of a temporary folder: what is added to name a socket in it is up to 46
_SYSTEM = ("/tmp", "/var/tmp", "/dev/shm")


@dataclass(frozen=True)
class Place:
    """`interpreter`: the Python to start the engine with; `variables`: to be added to its environment."""

    interpreter: str
    variables: dict[str, str]


@contextlib.contextmanager
def engine_place(state: Path = STATE) -> Iterator[Place]:
    """Yield the place of one engine; leaving the body removes its temporary folder. state: where it may leave files.

    InputError when the system has no folder for links that this user alone can write to and one is needed.
    """
    with scratch_folder(state, "engine") as scratch, contextlib.ExitStack() as links:
        compiled = Path(os.environ.get(SHARED) or state / _COMPILED)
        compiled.mkdir(parents=True, exist_ok=True)
        temporary = str(scratch.resolve())
        if len(temporary) > _LONGEST or has_space(temporary):
            temporary = str(links.enter_context(_passing_link(scratch.resolve())))
        interpreter = Path(sys.executable)
        yield Place(
            f"{shown(interpreter.parent.parent)}/{interpreter.parent.name}/{interpreter.name}",
            # Not what this process has: torch itself puts a folder of the system's there when it is imported.
            {"TMPDIR": temporary, "TORCHINDUCTOR_CACHE_DIR": shown(compiled.resolve())},
        )


def has_space(path: str) -> bool:
    """Whether a path holds white space of any kind, or the colon that ends a name in LD_PRELOAD as a space does."""
    return ":" in path or any(character.isspace() for character in path)


def shown(folder: Path) -> str:
    """A path of an absolute folder without white space: its own, or that of a link to it that stays.

    It is the same one every time: what was compiled is found by the paths that it was compiled with.
    """
    if not has_space(str(folder)):
        return str(folder)
    link = _folder_of_links() / json_sha256(str(folder))[:12]
    _link(link, folder)
    return str(link)


@contextlib.contextmanager
def _passing_link(folder: Path) -> Iterator[Path]:
    """Yield a short link to `folder` that goes with the body."""
    links = _folder_of_links()
    for old in links.iterdir():  # what killed processes left: their folders have been removed since
        if not old.exists():
            old.unlink(missing_ok=True)
    link = Path(tempfile.mktemp(dir=links))  # a name: nobody else writes in that folder
    _link(link, folder)
    try:
        yield link
    finally:
        link.unlink(missing_ok=True)


def _link(link: Path, folder: Path) -> None:
    with contextlib.suppress(FileExistsError):
        link.symlink_to(folder)


def _folder_of_links() -> Path:
    """A folder of this user's alone at a short path without white space."""
    for parent in _SYSTEM:
        folder = Path(parent) / f"relex-{os.getuid()}"
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, exist_ok=True)
            found = folder.lstat()
            if found.st_uid == os.getuid() and found.st_mode & 0o170077 == 0o040000:
                return folder
    raise InputError(
        "no folder for links that only this user can write to",
        where=" or ".join(f"{parent}/relex-{os.getuid()}" for parent in _SYSTEM),
        todo="remove what has that name, or move the project to a short path without spaces",
    )
