"""Which files are known to have the content their manifest says: hashed once, then recognised by size and time.

As Git's index does: a file whose size, modification time and inode are those of the moment it was hashed is taken
as unchanged; any other is hashed again. So a window of terabytes is hashed once, and a changed file is noticed.
The stamps lie in the trajectory's cache folder and mean nothing elsewhere; without write access nothing is kept.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

from relex.checkpoints.digest import weights_sha256
from relex.core import atomic
from relex.core.digest import file_sha256
from relex.core.errors import CorruptArtifact, InputError, RelexError

_NAME = "stamps.json"


def check_files(cache: Path, files: Iterable[tuple[Path, str]]) -> None:
    """Make sure that every (path, sha256) holds; CorruptArtifact names the first file that does not."""
    known = _load(cache)
    changed = []
    for path, sha256 in files:
        stamp = _stamp(path, sha256)
        if known.get(str(path.resolve())) != stamp:
            changed.append((path, sha256))
    for path, sha256 in tqdm(changed, desc="hash", unit="file", disable=None, delay=1.0):
        found = file_sha256(path)
        if found != sha256:
            raise CorruptArtifact("wrong hash", where=path, expected=sha256[:12], found=found[:12])
    remember(cache, changed)


def weights_sha256_once(cache: Path, folder: Path) -> str:
    """digest.weights_sha256 of a checkpoint folder, computed again only when one of its files has changed."""
    stamps = [_stamp(path, path.name) for path in sorted(folder.glob("*.safetensors*"))]
    key = f"weights of {folder.resolve()}"
    known = _load(cache).get(key)
    if isinstance(known, list) and len(known) == 2 and known[0] == stamps and isinstance(known[1], str):
        return known[1]
    found = weights_sha256(folder)
    _store(cache, {key: [stamps, found]})
    return found


def remember(cache: Path, files: Iterable[tuple[Path, str]]) -> None:
    """Keep the stamps of files whose hash was just computed."""
    _store(cache, {str(path.resolve()): _stamp(path, sha256) for path, sha256 in files})


def _store(cache: Path, fresh: dict[str, list[object]]) -> None:
    if fresh:
        with contextlib.suppress(OSError):  # a trajectory on a read-only medium is hashed every time
            atomic.write_json(cache / _NAME, {**_load(cache), **fresh})


def _stamp(path: Path, sha256: str) -> list[object]:
    try:
        state = path.stat()
    except OSError as error:
        raise InputError("the file is missing or cannot be read", where=path, found=error.strerror) from None
    return [state.st_size, state.st_mtime_ns, state.st_ino, sha256]


def _load(cache: Path) -> dict[str, list[object]]:
    try:
        found = atomic.read_json(cache / _NAME)
    except (RelexError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
