"""Writing files and folders so that a final name always holds something whole: temporary name, sync, rename."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from relex.core.errors import InputError
from relex.core.owner import PREFIX, hold, left_behind, temporary_name
from relex.core.rename import exchange, rename_new, restore, set_aside


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
    temporary = path.with_name(temporary_name(path.name))
    with _held(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)):
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

    With `replace`, an existing `path` is exchanged for the new one in one step, and then removed. Without it, an
    existing `path` raises InputError before anything is written, and one that appears meanwhile stays as it is: then
    what was written here is removed, with the same InputError.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent, of=path.name)
    if os.path.lexists(path) and not replace:
        raise _exists(path)
    with scratch_folder(path.parent, path.name) as temporary:
        yield temporary
        for written in temporary.rglob("*"):  # some libraries write files that only their owner can read
            if not written.is_symlink():  # what it points to is not ours
                os.chmod(written, (0o777 if written.is_dir() else 0o666) & ~_umask())
        sync_tree(temporary)
        _put(temporary, path, replace)
        sync_folder(path.parent)


def _put(temporary: Path, path: Path, replace: bool) -> None:
    """Give the folder its name; after an exchange `temporary` is the old one."""
    while True:
        try:
            rename_new(temporary, path)
        except FileExistsError:
            if not replace:
                raise _exists(path) from None
        else:
            return
        with contextlib.suppress(FileNotFoundError):  # it went in this moment
            exchange(temporary, path)
            return


def _exists(path: Path) -> InputError:
    return InputError("the output already exists", where=path, todo="remove it or name another output")


@contextlib.contextmanager
def scratch_folder(parent: Path, name: str) -> Iterator[Path]:
    """Yield an empty folder in `parent` for what lasts no longer than the body; `name` says what it is for."""
    parent = Path(parent)
    parent.mkdir(parents=True, exist_ok=True)
    temporary = parent / temporary_name(name)
    temporary.mkdir(mode=0o777 & ~_umask())
    with _held(os.open(temporary, os.O_RDONLY | os.O_DIRECTORY)):
        try:
            yield temporary
        finally:
            _remove(temporary)


def remove_leftovers(folder: Path, *, of: str = "", below: bool = False) -> None:
    """Remove what killed writers left beside final names in `folder`, and with `below` in all folders below it.

    Only what was left behind: what a living process writes, here or in another container, stays. of: only what was to
    get that name. An exchange that was killed where the kernel has none is undone.
    """
    folder = Path(folder)
    for target in set_aside(folder):
        if not of or target.name == of:
            restore(target)
    for entry in folder.glob(f"{PREFIX}{glob.escape(of)}*"):
        with contextlib.suppress(FileNotFoundError):  # its owner, or another command that cleans up, was quicker
            if left_behind(entry):
                _remove(entry)
    if below:
        for entry in folder.glob("*/"):
            if not entry.name.startswith(PREFIX) and not entry.is_symlink():
                remove_leftovers(entry, below=True)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _held(handle: int) -> Iterator[None]:
    """Keep what was opened locked until the body ends: whoever sees it unlocked knows that its owner is gone."""
    hold(handle)
    try:
        yield
    finally:
        os.close(handle)


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
