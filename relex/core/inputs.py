"""Files from outside the project that a stage reads, as links in inputs/: DVC follows them, so that what lies behind
one is a dependency of its stage by content, without a line in dvc.yaml for each."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from relex.core.owner import temporary_name
from relex.core.workspace import INPUT_BASE, INPUT_NONE


def follow_folder(given: Path | None, link: Path = INPUT_BASE) -> None:
    """Let the link lead to a folder with all that is in it; to nothing for None."""
    INPUT_NONE.mkdir(parents=True, exist_ok=True)
    _link(link, INPUT_NONE if given is None else given)


def follow_files(given: Iterable[Path], folder: Path) -> None:
    """Let the links of `folder` lead to these files, in their order; those of earlier ones go.

    A folder among them stands for the files in it, at any depth.
    """
    files = [path for one in given for path in (sorted(one.rglob("*")) if one.is_dir() else [one]) if path.is_file()]
    links = {folder / f"{number:03d}-{path.name}": path for number, path in enumerate(files)}
    if not links and not folder.is_dir():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.is_symlink() and path not in links:
            path.unlink()
    for link, path in links.items():
        _link(link, path)


def _link(link: Path, target: Path) -> None:
    """All at once; the same link for a path inside the project wherever that lies."""
    inside = not target.is_absolute()
    wanted = os.path.relpath(target, link.parent) if inside else str(target)
    if link.is_symlink() and os.readlink(link) == wanted:
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    temporary = link.with_name(temporary_name(link.name))
    temporary.symlink_to(wanted)
    temporary.replace(link)
