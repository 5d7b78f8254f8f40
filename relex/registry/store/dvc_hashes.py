"""DVC's own hashes, computed from the bytes: MD5 of a file, and of a folder the MD5 of its list of files.

DVC itself looks a hash up by size, modification time and inode, and takes a read-only file of its cache as sound. What
is promoted is hashed here instead. The list: https://dvc.org/doc/user-guide/project-structure/internal-files
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

FOLDER = ".dir"  # what the hash of a folder ends in


def md5_of(path: Path) -> str:
    """The hash that DVC gives this file or folder."""
    return folder_md5(files_below(path)) if path.is_dir() else file_md5(path)


def file_md5(path: Path) -> str:
    """Hexadecimal MD5 of a file's bytes."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def files_below(folder: Path) -> dict[str, str]:
    """Path below `folder` -> MD5, of every file."""
    return {path.relative_to(folder).as_posix(): file_md5(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def folder_md5(files: Mapping[str, str]) -> str:
    """The hash of a folder with these files (path below it -> MD5)."""
    return hashlib.md5(_listing(files), usedforsecurity=False).hexdigest() + FOLDER


def read_listing(md5: str, cache: Path) -> dict[str, str] | None:
    """The files of the folder with hash `md5` as DVC's cache lists them; None where it has no sound list.

    cache: the folder whose files are called by two and thirty characters of their MD5.
    """
    try:
        text = object_path(md5, cache).read_bytes()
        if hashlib.md5(text, usedforsecurity=False).hexdigest() + FOLDER != md5:
            return None
        return {entry["relpath"]: entry["md5"] for entry in json.loads(text)}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def object_path(md5: str, cache: Path) -> Path:
    """Where DVC's cache keeps the object with this hash."""
    return cache / md5[:2] / md5[2:]


def _listing(files: Mapping[str, str]) -> bytes:
    entries = [{"md5": files[name], "relpath": name} for name in sorted(files)]
    return json.dumps(entries, sort_keys=True).encode()
