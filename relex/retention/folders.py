"""Folders of this project's own that grow from night to night: cached rows, served models, studies.

Removed is a folder by renaming it first: nobody finds half of one under its name, and what a kill leaves of it is a
leftover that the next sweep removes (atomic.remove_leftovers).
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from relex.core.owner import temporary_name
from relex.core.workspace import HOP, PARAMS, ROWS_CACHE
from relex.registry.fetch import SERVED
from relex.retention.facts import Folder, Place

STUDY = Path("study")  # the nights of flows/study/, one folder each
# Not the campaigns themselves: each is a project with nights and a registry of its own.
_STUDY = re.compile(r"seed-\d+(-bent)?(-true)?|campaign-\d+-(true|fine-tuned)|regime-\d+-.+")


def gather(root: Path = Path()) -> tuple[Folder, ...]:
    """What is there, with the time of its newest file."""
    return (
        *(_folder(root, path, "rows", model=path.name) for path in _folders(root / ROWS_CACHE)),
        *(_folder(root, path, "served", model=path.name) for path in _folders(root / SERVED)),
        *(_folder(root, path, "study") for path in _folders(root / STUDY) if _is_ours(path)),
    )


def remove(folder: Folder, root: Path = Path()) -> None:
    """Remove it, at once as far as anybody can see."""
    path = root / folder.path
    going = path.with_name(temporary_name(path.name))
    os.replace(path, going)
    shutil.rmtree(going)


def bytes_of(path: Path) -> int:
    """Bytes of a file, or of everything below a folder, links not followed; 0 where there is nothing."""
    if path.is_file():
        return path.stat().st_size
    return sum(os.lstat(os.path.join(folder, name)).st_size for folder, _, names in os.walk(path) for name in names)


def _folders(place: Path) -> Iterator[Path]:
    if place.is_dir():
        yield from (p for p in sorted(place.iterdir()) if p.is_dir() and not p.is_symlink() and p.name[0] != ".")


def _is_ours(path: Path) -> bool:
    """Whether flows/study/ made a folder: by its name and by the inputs that it puts there."""
    return bool(_STUDY.fullmatch(path.name)) and (path / PARAMS).is_file() and (path / HOP).is_file()


def _folder(root: Path, path: Path, place: Place, *, model: str = "") -> Folder:
    files = [os.lstat(os.path.join(folder, name)) for folder, _, names in os.walk(path) for name in names]
    used = max([path.stat().st_mtime, *(facts.st_mtime for facts in files)])
    return Folder(place, path.relative_to(root).as_posix(), sum(facts.st_size for facts in files), used, model)
