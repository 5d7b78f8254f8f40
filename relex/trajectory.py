"""A window on disk: read, write, verify. manifest.json names the steps; steps/000075.safetensors holds the deltas.

A step is in the manifest only after its file is complete and synced, so a killed run leaves a shorter window, never
a torn one.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from relex import atomic, manifest, stamps
from relex.codec import CODECS, SCALE
from relex.digest import file_sha256, weights_sha256
from relex.errors import CorruptArtifact, InputError, RelexError
from relex.manifest import Manifest, Step, StepFile
from relex.tensors import FLOATING, CheckpointReader, TensorFile, write_header
from relex.tying import implied_heads, tied_twins

STEPS = "steps"
CACHE = "cache"  # Gram matrices, keyed by content; never part of the trajectory's identity


def moving_tensors(base: CheckpointReader) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Names, dtypes and shapes of the tensors a trajectory over `base` holds: floating, tied weights once.

    Integers and 8-bit floats do not move. InputError for float64, which no result is written in.
    """
    twins = tied_twins(base)
    for name, spec in base.specs.items():
        if spec.dtype == "F64":
            raise InputError("float64 weights", where=f"{base.folder}: {name}", expected="float32, bfloat16, float16")
    return {
        name: (spec.dtype, spec.shape)
        for name, spec in base.specs.items()
        if spec.dtype in FLOATING and name not in twins
    }


class TrajectoryWriter:
    """Creates a trajectory of deltas and appends steps to it.

    A folder that already holds the same base, codec and identity is continued, with its steps; anything else under
    that name is removed and begun anew, with a manifest without steps.
    """

    def __init__(
        self, folder: Path, *, base: Path, codec: str, identity: dict[str, Any], only: Collection[str] | None = None
    ):
        """`base`: the checkpoint folder of theta_0. `identity`: JSON that says what made the trajectory. `only`: the
        tensors that can move, where not all do (adapters); the others are left out and stay as in the base.

        InputError when a tensor of `only` is not one of the base's.
        """
        self.folder = Path(folder)
        with CheckpointReader(base) as reader:
            moving = moving_tensors(reader)
            if only is not None:
                heads = {**tied_twins(reader), **implied_heads(reader, only)}
                strange = sorted(set(only) - moving.keys() - heads.keys())
                if strange:
                    raise InputError("a tensor that the base lacks", where=f"{base}: {strange[0]}")
                moving = {name: moving[name] for name in moving if name in only}
            fresh = Manifest("deltas", weights_sha256(base), moving, codec, identity)
            self._droppable = {**tied_twins(reader), **implied_heads(reader, ("lm_head.weight", "embed_out.weight"))}
        self._manifest = fresh
        if (self.folder / manifest.NAME).exists():
            found = manifest.load(self.folder)
            if dataclasses.replace(found, steps=()).sha256 == fresh.sha256:
                self._manifest = found
                atomic.remove_leftovers(self.folder)
                atomic.remove_leftovers(self.folder / STEPS)
                return
        if self.folder.exists():
            shutil.rmtree(self.folder)
        (self.folder / STEPS).mkdir(parents=True)
        fresh.save(self.folder)

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps that are complete on disk."""
        return tuple(step.step for step in self._manifest.steps)

    def truncate(self, last: int) -> None:
        """Forget the steps after `last`: what a run that resumes from an earlier state will write again."""
        kept = tuple(step for step in self._manifest.steps if step.step <= last)
        gone = self._manifest.steps[len(kept) :]
        self._manifest = dataclasses.replace(self._manifest, steps=kept)
        self._manifest.save(self.folder)
        for step in gone:
            (self.folder / step.files[0].file).unlink(missing_ok=True)

    def append(self, step: int, deltas: Mapping[str, torch.Tensor], reward: float | None = None) -> None:
        """Add one step. deltas: theta_step - theta_0 per tensor, float32, the base's names and shapes.

        A tied head beside its embedding is dropped when both moved alike. InputError for NaN or Inf (tensor and
        count), another tensor set, shape or dtype, or a step that is not after the last one; then nothing changes.
        """
        where = self.folder / STEPS / f"{step:06d}.safetensors"
        if self.steps and step <= self.steps[-1]:
            raise InputError("a step must come after the last one", where=where, expected=f"> {self.steps[-1]}")
        if step < 1 or (reward is not None and not math.isfinite(reward)):
            raise InputError("not a step with a reward", where=where, found=f"step {step}, reward {reward}")
        names = self._names(deltas, where)
        try:
            with atomic.new_file(where) as temporary:
                self._write(temporary, deltas, names, where)
                entry = StepFile(f"{STEPS}/{where.name}", file_sha256(temporary), temporary.stat().st_size)
            steps = (*self._manifest.steps, Step(step, (entry,), reward))
            grown = dataclasses.replace(self._manifest, steps=steps)
            grown.save(self.folder)
        except OSError as error:
            raise RelexError(f"{where}: cannot write the step: {error}; the window ends before it") from error
        self._manifest = grown

    def _names(self, deltas: Mapping[str, torch.Tensor], where: Path) -> list[str]:
        """The tensors to write, sorted; InputError for another set than the base's."""
        names = set(deltas)
        for head, embedding in self._droppable.items():
            if head in names and embedding in names and torch.equal(deltas[head], deltas[embedding]):
                names.remove(head)
        odd = sorted(names ^ self._manifest.tensors.keys())
        if odd:
            what = "a tensor that the base lacks" if odd[0] in names else "a tensor of the base is missing"
            raise InputError(what, where=f"{where}: {odd[0]}", found=f"{len(odd)} names differ")
        return sorted(names)

    def _write(self, path: Path, deltas: Mapping[str, torch.Tensor], names: list[str], where: Path) -> None:
        """Encode and write one tensor after the other; `deltas` may compute each when asked for."""
        codec = CODECS[self._manifest.codec]
        layout = {}
        for name in names:
            shape = self._manifest.tensors[name][1]
            layout[name] = (codec.dtype, shape)
            if codec.block:
                layout[name + SCALE] = (torch.bfloat16, (codec.scales(math.prod(shape)),))
        with open(path, "wb") as handle:
            write_header(handle, layout)
            for name in names:
                delta = deltas[name].detach().to("cpu")
                self._check(delta, name, where)
                for part in codec.encode(delta).values():
                    handle.write(memoryview(part.reshape(-1).view(torch.uint8).numpy()))

    def _check(self, delta: torch.Tensor, name: str, where: Path) -> None:
        shape = self._manifest.tensors[name][1]
        if tuple(delta.shape) != shape:
            raise InputError("wrong shape", where=f"{where}: {name}", expected=shape, found=tuple(delta.shape))
        if delta.dtype != torch.float32:
            raise InputError("wrong dtype", where=f"{where}: {name}", expected="float32", found=delta.dtype)
        check_finite(delta, f"{where}: {name}")


def check_finite(values: torch.Tensor, where: str) -> None:
    """InputError naming the tensor and how many of its values are NaN or infinite."""
    bad = int(values.numel() - torch.isfinite(values).sum())
    if bad:
        raise InputError(
            "NaN or infinite values in a delta",
            where=where,
            found=f"{bad} of {values.numel()}",
            todo="the run diverged or the file is damaged: use the steps before it",
        )


class Trajectory:
    """A trajectory folder, read. Manifest only: files are opened by window.Window."""

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

    def check_sizes(self) -> None:
        """InputError or CorruptArtifact for a file that is missing or has another size than the manifest says."""
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

    def check_base(self, base: Path) -> None:
        """InputError when `base` is not the checkpoint the trajectory started from."""
        CheckpointReader(base).close()  # says what is wrong with a base that is not sound
        found = stamps.weights_sha256_once(self.folder / CACHE, Path(base))
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
    trajectory.check_sizes()
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
        if spec.shape != shape or spec.torch_dtype != codec.dtype:
            raise CorruptArtifact(
                "wrong shape or dtype",
                where=f"{file.path}: {name}",
                expected=f"{codec.dtype} {list(shape)}",
                found=f"{spec.torch_dtype} {list(spec.shape)}",
            )
        if codec.block and file.specs[name + SCALE].numel != codec.scales(spec.numel):
            raise CorruptArtifact("wrong number of scales", where=f"{file.path}: {name}")
        if codec.block and file.specs[name + SCALE].dtype != "BF16":
            raise CorruptArtifact("scales of another dtype", where=f"{file.path}: {name}", expected="BF16")
        if values and codec.dtype.is_floating_point:
            check_finite(file.tensor(name), f"{file.path}: {name}")
