"""The identity of this project's own code, for what must not outlive a change of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from relex.core.digest import file_sha256, json_sha256

PACKAGE = Path(__file__).resolve().parent.parent
ROOT = PACKAGE.parent  # where `python -m relex...` of a process started here must find this very code


def code_sha256(places: Iterable[str]) -> str:
    """Hexadecimal SHA-256 over the names and bytes of Python modules: those named, and all below the folders named.

    places: below relex/, such as `rewards` or `stages/evaluate/answering.py`. FileNotFoundError for one that is not
    there: a place that was moved must not silently stop counting.
    """
    files: dict[str, str] = {}
    for place in places:
        path = PACKAGE / place
        found = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        if not found:
            raise FileNotFoundError(path)
        files |= {file.relative_to(PACKAGE).as_posix(): file_sha256(file) for file in found}
    return json_sha256(files)
