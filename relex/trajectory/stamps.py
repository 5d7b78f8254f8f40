"""Which files have the content that their manifest says, and how that is known.

- The stage extrapolate, for what may be promoted (`thorough`): every step's files and the base are hashed at every
  call. One read of the window, several files at a time.
- A command on a folder, and the stage diagnose: a file is hashed once, and again when its stamp has changed. After the
  first time that is a stat a file.
- `relex verify`: everything is hashed, always.

A stamp is size, modification time, inode and change time of the moment before a file was hashed. The change time is the
system's: nobody can set it back, so a file that was written to is noticed even where its modification time was put
back. What no stamp can show is a bit that turned in the medium itself; that is why what may be promoted does not ask
them. The stamps lie in the trajectory's cache folder and mean nothing elsewhere; without write access nothing is kept.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from relex.checkpoints.digest import weights_sha256
from relex.core import atomic, progress
from relex.core.digest import file_sha256
from relex.core.errors import CorruptArtifact, InputError, RelexError

_NAME = "stamps.json"
_MOST = 4  # files hashed at a time

Stamps = dict[Path, list[object]]


def check_files(cache: Path, files: Iterable[tuple[Path, str]], *, thorough: bool = False) -> None:
    """Make sure that every (path, sha256) holds; CorruptArtifact names the first file that does not.

    thorough: hash all of them, whatever their stamps say.
    """
    listed = list(files)
    before = stamps_of(path for path, _ in listed)
    known = {} if thorough else _load(cache)
    changed = [(path, sha256) for path, sha256 in listed if known.get(_key(path)) != [*before[path], sha256]]
    for (path, sha256), found in zip(changed, hash_files([path for path, _ in changed]), strict=True):
        if found != sha256:
            raise CorruptArtifact(
                "wrong hash",
                where=path,
                expected=sha256[:12],
                found=found[:12],
                todo="the file changed after it was written: take it from where it was made, or make it again",
            )
    remember(cache, changed, before)


def weights_sha256_once(cache: Path, folder: Path, *, thorough: bool = False) -> str:
    """digest.weights_sha256 of a checkpoint folder, computed again only when one of its files has changed.

    thorough: computed in any case.
    """
    files = sorted(folder.glob("*.safetensors*"))
    before = stamps_of(files)
    stamps = [[path.name, *before[path]] for path in files]
    key = f"weights of {folder.resolve()}"
    known = None if thorough else _load(cache).get(key)
    if isinstance(known, list) and len(known) == 2 and known[0] == stamps and isinstance(known[1], str):
        return known[1]
    found = weights_sha256(folder)
    _store(cache, {key: [stamps, found]})
    return found


def hash_files(paths: Sequence[Path]) -> list[str]:
    """SHA-256 of every file, several at a time: hashing leaves the interpreter to the others."""
    with ThreadPoolExecutor(min(_MOST, len(os.sched_getaffinity(0)))) as pool:
        hashes = pool.map(_hash, paths)
        return list(progress.bar(hashes, total=len(paths), desc="hash", unit="file"))


def stamps_of(paths: Iterable[Path]) -> Stamps:
    """The stamps of files that are about to be hashed. InputError for one that is missing."""
    return {path: _stamp(path) for path in paths}


def remember(cache: Path, files: Iterable[tuple[Path, str]], before: Stamps) -> None:
    """Keep hashes that were just computed. before: stamps_of the files, taken ahead of hashing them."""
    _store(cache, {_key(path): [*before[path], sha256] for path, sha256 in files})


def _hash(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise InputError("the file cannot be read", where=path, found=error.strerror) from None


def _store(cache: Path, fresh: dict[str, list[object]]) -> None:
    if fresh:
        with contextlib.suppress(OSError):  # a trajectory on a read-only medium is hashed every time
            atomic.write_json(cache / _NAME, {**_load(cache), **fresh})


def _key(path: Path) -> str:
    return str(path.resolve())


def _stamp(path: Path) -> list[object]:
    try:
        state = path.stat()
    except OSError as error:
        raise InputError("the file is missing or cannot be read", where=path, found=error.strerror) from None
    return [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]


def _load(cache: Path) -> dict[str, list[object]]:
    try:
        found = atomic.read_json(cache / _NAME)
    except (RelexError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
