"""Renaming folders in one step of the kernel: never over what is there, or in exchange for it.

Linux's renameat2 does both. Some file systems (NFS, FUSE) lack it: there a folder is still never put over one that
holds anything, and in an exchange the old one steps aside under a name from which `restore` brings it back.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
from pathlib import Path

_AT_FDCWD = -100
_NOREPLACE, _EXCHANGE = 1, 2
_LACKING = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)
_SUFFIX = ".relex-before"
_libc = ctypes.CDLL(None, use_errno=True)


def rename_new(source: Path, target: Path) -> None:
    """Rename `source` to `target`; FileExistsError, with nothing changed, when something is there."""
    if _renameat2(source, target, _NOREPLACE):
        return
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    try:
        os.rename(source, target)  # what appears in this moment with anything in it is not replaced either
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from error
        raise


def exchange(source: Path, target: Path) -> None:
    """Give each of two folders the other's name; FileNotFoundError, with nothing changed, when one is not there."""
    if _renameat2(source, target, _EXCHANGE):
        return
    aside = _aside(target)
    os.rename(target, aside)
    os.rename(source, target)
    os.rename(aside, source)


def restore(target: Path) -> None:
    """Finish an exchange that was killed where the kernel has none: the old `target` back, or out of the way."""
    aside = _aside(target)
    if os.path.lexists(aside):
        with contextlib.suppress(FileExistsError):
            rename_new(aside, target)
            return
        shutil.rmtree(aside)


def set_aside(folder: Path) -> list[Path]:
    """Targets in `folder` of which an old one stands aside."""
    return [path.with_name(path.name.removeprefix(".").removesuffix(_SUFFIX)) for path in folder.glob(f".*{_SUFFIX}")]


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}{_SUFFIX}")


def _renameat2(source: Path, target: Path, flags: int) -> bool:
    """Whether it was done; False where the system or the file system lacks it, OSError for anything else."""
    call = getattr(_libc, "renameat2", None)
    if call is None:
        return False
    if call(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), flags) == 0:
        return True
    number = ctypes.get_errno()
    if number in _LACKING:
        return False
    raise OSError(number, os.strerror(number), str(source), None, str(target))
