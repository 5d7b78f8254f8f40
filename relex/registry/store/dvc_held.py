"""Whether the artifacts behind a winner are still the bytes that dvc.lock records.

`dvc status` and `dvc repro` look a hash up by size, modification time and inode, so they overlook a bit that turned.
Before a winner becomes a version everything it rests on is hashed anew: here its own folder, the base and the
trajectory's manifest, in evidence.py the rows and metrics. The trajectory's steps are not: extrapolation hashed them
against that manifest before it used them (trajectory/stamps.py). Cost: one read of two checkpoints at MD5's speed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from relex.core import workspace
from relex.core.errors import CorruptArtifact
from relex.registry.store import dvc_hashes, dvc_objects
from relex.trajectory.manifest import NAME


def check(winner: Path, recorded: Mapping[str, str]) -> None:
    """CorruptArtifact for a file that is not what `recorded` says (output -> DVC's hash, as dvc.lock has them).

    winner: its folder, an output or below one. An output that is not recorded has nothing it could be held against.
    """
    inside = PurePosixPath(winner.as_posix())
    parts = {
        inside.parts[0]: "/".join(inside.parts[1:]),
        workspace.BASE.as_posix(): "",
        workspace.TRAJECTORY.as_posix(): NAME,
    }
    held = {out: part for out, part in parts.items() if out in recorded and Path(out).is_dir()}
    if held:
        cache = dvc_objects.cache_folder()
        for out, part in held.items():
            _check(Path(out), recorded[out], part, cache)


def _check(out: Path, md5: str, part: str, cache: Path) -> None:
    """part: the file or folder below `out` that is looked at where the cache's list allows; "" for all of it."""
    listed = dvc_hashes.read_listing(md5, cache)
    if listed is None:
        found = dvc_hashes.md5_of(out)
        if found != md5:
            raise _changed(out, md5, found)
        return
    expected = {name: value for name, value in listed.items() if _below(name, part)}
    place = out / part
    if place.is_dir():
        files = dvc_hashes.files_below(place)
        present = {(PurePosixPath(part) / name).as_posix(): value for name, value in files.items()}
    else:
        present = {part: dvc_hashes.file_md5(place)} if place.is_file() else {}
    for name in sorted(expected.keys() | present.keys()):
        if expected.get(name) != present.get(name):
            raise _changed(out / name, expected.get(name, "no such file"), present.get(name, "no such file"))


def _below(name: str, part: str) -> bool:
    return not part or name == part or name.startswith(part + "/")


def _changed(where: Path, expected: str, found: str) -> CorruptArtifact:
    return CorruptArtifact(
        "not the bytes that dvc.lock records",
        where=where,
        expected=f"md5 {expected}",
        found=found,
        todo="a damaged file: remove it (and DVC's copy of it) and `dvc repro`; made by hand: `dvc commit`",
    )
