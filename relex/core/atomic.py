"""Writing files and folders so that a final name always holds something whole: temporary name, sync, rename."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from relex.core.errors import InputError

_PREFIX = ".tmp-"
_TEMPORARY = re.compile(re.escape(_PREFIX) + r"(.+)-[a-z0-9_]{8}")


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Make every file below `folder`, and the folders themselves, durable."""
    for root, _, names in os.walk(folder):
        for name in names:
            handle = os.open(os.path.join(root, name), os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        sync_folder(Path(root))


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success sync it and rename it over `path`, on failure remove it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=_PREFIX + path.name + "-", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success sync it and rename it to `path`, on failure remove it.

    With `replace`, an existing `path` is swapped out and removed after the new one is in place; without it, an
    existing `path` raises InputError before anything is written.
    """
    path = Path(path)
    if path.exists() and not replace:
        raise InputError("the output already exists", where=path, todo="remove it or name another output")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=_PREFIX + path.name + "-", dir=path.parent))
    try:
        os.chmod(temporary, 0o777 & ~_umask())
        yield temporary
        for written in temporary.rglob("*"):  # some libraries write files that only their owner can read
            os.chmod(written, (0o777 if written.is_dir() else 0o666) & ~_umask())
        sync_tree(temporary)
        if path.exists():
            old = Path(tempfile.mkdtemp(prefix=_PREFIX + path.name + "-old-", dir=path.parent))
            os.replace(path, old)
            os.replace(temporary, path)
            shutil.rmtree(old)
        else:
            os.replace(temporary, path)
        sync_folder(path.parent)
    finally:
        if temporary.exists():
            shutil.rmtree(temporary, ignore_errors=True)


def final_name(temporary: Path) -> Path:
    """What a temporary path from here will be called, for messages."""
    match = _TEMPORARY.fullmatch(temporary.name)
    return temporary.with_name(match[1]) if match else temporary


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed writer left beside final names in `folder`. Call only where no other writer runs."""
    for entry in Path(folder).glob(_PREFIX + "*"):
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON with sorted keys, so that equal values are equal bytes. NaN is an error."""
    with new_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8."""
    with new_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file that this project wrote; InputError when it is missing or is not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("the file is missing", where=path, todo="run the stage that writes it") from None
    except (ValueError, OSError) as error:
        raise InputError("the file cannot be read as JSON", where=path, found=error) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
