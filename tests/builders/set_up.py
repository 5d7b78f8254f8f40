"""What `make setup` leaves in a folder beside the environment: every night of a test would else make it anew."""

from __future__ import annotations

import contextlib
import functools
import shutil
import tempfile
from pathlib import Path

from flows.ready import TABLES, ready
from relex.core.workspace import PREFECT
from tests.builders import ROOT

_LOOPS = Path("relex/window/kernels")


def set_up(folder: Path) -> None:
    """folder: a copy of this project, with files as old as the originals: what is compiled of theirs, here, is read."""
    tables(folder / PREFECT)
    for compiled in (ROOT / _LOOPS / "__pycache__").glob("*.nb[ci]"):  # Numba's
        place = folder / compiled.relative_to(ROOT)
        place.parent.mkdir(exist_ok=True)
        shutil.copy2(compiled, place)


def tables(home: Path) -> None:
    """Put a Prefect database with empty tables there, where a server has its home."""
    shutil.copytree(Path(_made().name, PREFECT), home, dirs_exist_ok=True)


@functools.cache
def _made() -> tempfile.TemporaryDirectory[str]:
    """Made once a process; removed at its end."""
    folder = tempfile.TemporaryDirectory(prefix="set-up-")
    with contextlib.chdir(folder.name):
        ready(TABLES)
    return folder
