"""A trajectory by reference: its manifest names full checkpoints, their files and hashes, and nothing is copied."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from relex.checkpoints.compare import check_constants, check_same_tensors, check_tied
from relex.checkpoints.digest import weights_sha256
from relex.checkpoints.tensors import CheckpointReader
from relex.trajectory import stamps
from relex.trajectory.manifest import Manifest, Step, StepFile
from relex.trajectory.reader import CACHE
from relex.trajectory.writer import moving_tensors


def check_one_run(found: Sequence[tuple[int, Path]], origin: CheckpointReader) -> None:
    """CorruptArtifact for the first checkpoint that cannot be of a run from this base. found: (step, folder)."""
    for _, checkpoint in found:
        with CheckpointReader(checkpoint) as reader:
            check_same_tensors(origin, reader)
            check_tied(reader, origin)
            check_constants(reader, origin)


def write_reference(found: Sequence[tuple[int, Path]], base: Path, origin: CheckpointReader, folder: Path) -> None:
    """Write the manifest of (step, folder) into `folder`; several files are hashed at a time, each once.

    origin: the open base.
    """
    files = []
    for step, checkpoint in found:
        with CheckpointReader(checkpoint) as reader:
            files += [(step, Path(os.path.abspath(checkpoint)), name) for name in reader.files]
    paths = [place / name for _, place, name in files]
    before = stamps.stamps_of(paths)
    hashed = stamps.hash_files(paths)
    steps = []
    for step, checkpoint in found:
        entries = tuple(
            StepFile(name, sha256, (place / name).stat().st_size)
            for (number, place, name), sha256 in zip(files, hashed, strict=True)
            if number == step
        )
        steps.append(Step(step, entries, folder=os.path.abspath(checkpoint)))
    manifest = Manifest("reference", weights_sha256(base), moving_tensors(origin), "float32", {}, tuple(steps))
    manifest.save(folder)
    stamps.remember(folder / CACHE, zip(paths, hashed, strict=True), before)
