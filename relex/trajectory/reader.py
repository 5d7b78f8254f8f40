"""A window on disk, read and verified. manifest.json names the steps; steps/000075.safetensors holds the deltas."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from relex.checkpoints.header import FLOATING
from relex.checkpoints.tensors import CheckpointReader, TensorFile
from relex.core.digest import file_sha256
from relex.core.errors import CorruptArtifact, InputError
from relex.trajectory import manifest, numbering, stamps
from relex.trajectory.codec import CODECS, SCALE
from relex.trajectory.manifest import Manifest, Step, StepFile

if TYPE_CHECKING:
    import torch

CACHE = "cache"  # Gram matrices, keyed by content; never part of the trajectory's identity


def check_finite(values: torch.Tensor, where: str) -> None:
    """InputError naming the tensor and how many of its values are NaN or infinite."""
    bad = int(values.numel() - values.isfinite().sum())
    if bad:
        raise InputError(
            "NaN or infinite values in a delta",
            where=where,
            found=f"{bad} of {values.numel()}",
            todo="the run diverged or the file is damaged: use the steps before it",
        )


class Trajectory:
    """A trajectory folder, read. Manifest only: files are opened by window/rows.Window."""

    def __init__(self, folder: Path):
        """InputError or CorruptArtifact when the manifest is missing or not sound."""
        self.folder = Path(folder)
        self.manifest = manifest.load(self.folder)

    @property
    def steps(self) -> tuple[int, ...]:
        """The observed optimiser steps t_1 < ... < t_T."""
        return tuple(step.step for step in self.manifest.steps)

    @property
    def rewards(self) -> tuple[float | None, ...]:
        """Mean reward of the rollouts at each observed step, where known."""
        return tuple(step.reward for step in self.manifest.steps)

    @property
    def identity(self) -> dict[str, Any]:
        """What made the trajectory, as its writer was told."""
        return self.manifest.identity

    @property
    def base_sha256(self) -> str:
        """weights_sha256 of the base the deltas were taken from."""
        return self.manifest.base_sha256

    @property
    def sha256(self) -> str:
        """Hash over everything the window is; independent of where it lies."""
        return self.manifest.sha256

    def path(self, step: Step, file: StepFile) -> Path:
        """Where a file of a step lies."""
        return (Path(step.folder) if step.folder else self.folder) / file.file

    def check_complete(self) -> None:
        """InputError or CorruptArtifact for a file that is missing or has another size than the manifest says, and for
        a step that lies there and is left out of the manifest."""
        numbering.check_unlisted(self.folder, self.steps)
        for step in self.manifest.steps:
            for file in step.files:
                path = self.path(step, file)
                try:
                    size = path.stat().st_size
                except OSError as error:
                    raise InputError(
                        "the file is missing" if isinstance(error, FileNotFoundError) else "the file cannot be read",
                        where=path,
                        found=error.strerror,
                    ) from None
                if size != file.bytes:
                    raise CorruptArtifact("wrong size", where=path, expected=file.bytes, found=size)

    def check_base(self, base: Path, *, thorough: bool = False) -> None:
        """InputError when `base` is not the checkpoint the trajectory started from. thorough: see stamps.py."""
        CheckpointReader(base).close()  # says what is wrong with a base that is not sound
        found = stamps.weights_sha256_once(self.folder / CACHE, Path(base), thorough=thorough)
        if found != self.base_sha256:
            raise InputError(
                "another base than the trajectory's",
                where=base,
                expected=f"weights {self.base_sha256[:12]}",
                found=f"weights {found[:12]}",
            )


def verify(folder: Path) -> str:
    """Check every hash, shape and value of a trajectory; one summary line, or the first fault as an error."""
    trajectory = Trajectory(folder)
    trajectory.check_complete()
    total = 0
    files = [(step, file) for step in trajectory.manifest.steps for file in step.files]
    for step, file in tqdm(files, desc="verify", unit="file", disable=None):
        path = trajectory.path(step, file)
        found = file_sha256(path)
        if found != file.sha256:
            raise CorruptArtifact("wrong hash", where=path, expected=file.sha256[:12], found=found[:12])
        total += file.bytes
        if trajectory.manifest.kind == "deltas":
            check_delta_file(trajectory.manifest, TensorFile(path), values=True)
    manifest.warn_of_repeats(trajectory.manifest, folder)
    where = f"{trajectory.steps[0]}..{trajectory.steps[-1]}" if trajectory.steps else "none"
    return (
        f"{folder}: sound; {len(trajectory.steps)} steps ({where}), {len(trajectory.manifest.tensors)} tensors, "
        f"{total} bytes, {trajectory.manifest.kind}, codec {trajectory.manifest.codec}, "
        f"content {trajectory.sha256[:12]}"
    )


def check_delta_file(found: Manifest, file: TensorFile, *, values: bool = False) -> None:
    """CorruptArtifact when a step's file lacks a tensor or has another shape or dtype than the manifest and codec
    say; with `values`, InputError when it holds NaN or Inf."""
    codec = CODECS[found.codec]
    wanted = set(found.tensors) | ({name + SCALE for name in found.tensors} if codec.block else set())
    for name in sorted(file.specs.keys() ^ wanted)[:1]:
        what = "the step lacks a tensor" if name in wanted else "a tensor that the manifest does not know"
        raise CorruptArtifact(what, where=f"{file.path}: {name[:200]}")
    for name, (_, shape) in found.tensors.items():
        spec = file.specs[name]
        if spec.shape != shape or spec.dtype != codec.dtype:
            raise CorruptArtifact(
                "wrong shape or dtype",
                where=f"{file.path}: {name}",
                expected=f"{codec.dtype} {list(shape)}",
                found=f"{spec.dtype} {list(spec.shape)}",
            )
        if codec.block and file.specs[name + SCALE].numel != codec.scales(spec.numel):
            raise CorruptArtifact("wrong number of scales", where=f"{file.path}: {name}")
        if codec.block and file.specs[name + SCALE].dtype != "BF16":
            raise CorruptArtifact("scales of another dtype", where=f"{file.path}: {name}", expected="BF16")
        if values and codec.dtype in FLOATING:
            check_finite(file.tensor(name), f"{file.path}: {name}")
