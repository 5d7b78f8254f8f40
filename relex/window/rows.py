"""The open files of an observed window: where the bytes of every step's deltas lie, and how to decode them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from relex.checkpoints.compare import check_same_tensors
from relex.checkpoints.tensors import CheckpointReader, TensorFile
from relex.checkpoints.tying import tied_twins
from relex.core.errors import CorruptArtifact, InputError
from relex.trajectory import stamps
from relex.trajectory.codec import BLOCK, CODECS, SCALE, Codec
from relex.trajectory.manifest import Step, warn_of_repeats
from relex.trajectory.reader import CACHE, Trajectory, check_delta_file
from relex.window.kernels import decode as kernels

_KIND = {
    "F32": kernels.KIND_FLOAT32,
    "BF16": kernels.KIND_BFLOAT16,
    "F16": kernels.KIND_FLOAT16,
    "I8": kernels.KIND_INT8,
}


@dataclass(frozen=True)
class Rows:
    """One tensor of the window: T stored rows in as many files, row i for steps[i], and theta_0.

    paths and starts [T + 1]: file and first byte of each row, theta_0's last; kind: how the rows are stored
    (kernels.KIND_*); subtract: they are weights, not deltas; scales: None, or per row its scales (float32; one, or one
    per BLOCK values); base_kind: how theta_0 is stored.
    """

    name: str
    numel: int
    kind: int
    subtract: bool
    paths: tuple[Path, ...]
    starts: tuple[int, ...]
    scales: tuple[NDArray[np.float32], ...] | None
    base_kind: int

    @property
    def count(self) -> int:
        """Rows without theta_0."""
        return len(self.paths) - 1

    @property
    def item(self) -> int:
        """Bytes of one stored value."""
        return kernels.ITEM_BYTES[self.kind]

    @property
    def nbytes(self) -> int:
        """Bytes of the rows without theta_0."""
        return self.count * self.numel * self.item

    @cached_property
    def _ones(self) -> NDArray[np.float32]:
        return np.ones((self.count, 1), np.float32)

    def scales_of(self, start: int, stop: int) -> NDArray[np.float32]:
        """The scales [T, S] of the columns [start, stop); start is a multiple of BLOCK."""
        if self.scales is None:
            return self._ones
        if self.kind == kernels.KIND_INT8:
            return np.stack([row[start // BLOCK : -(-stop // BLOCK)] for row in self.scales])
        return np.stack([row[:1] for row in self.scales])


class Window:
    """Deltas of a trajectory over its base, opened and checked. A context manager.

    `steps` [T], `names` (sorted: the tensors that a delta exists for), `base` (the open base), `twins` (tied heads that
    the base writes out, see tying.py).
    """

    def __init__(self, trajectory: Trajectory, base: Path, *, thorough: bool = False):
        """Open every file; InputError for another base, fewer than two steps, missing or faulty files.

        thorough: every file is hashed, whatever is known of it (trajectory/stamps.py).
        """
        if len(trajectory.steps) < 2:
            raise InputError(
                "a window needs at least two observed steps",
                where=trajectory.folder,
                found=f"{len(trajectory.steps)}",
            )
        trajectory.check_complete()
        trajectory.check_base(base, thorough=thorough)
        manifest = trajectory.manifest
        stamps.check_files(
            trajectory.folder / CACHE,
            [(trajectory.path(step, file), file.sha256) for step in manifest.steps for file in step.files],
            thorough=thorough,
        )
        warn_of_repeats(manifest, trajectory.folder)
        self.trajectory = trajectory
        self.base = CheckpointReader(base)
        self.steps = trajectory.steps
        self.names = sorted(manifest.tensors)
        self.twins = tied_twins(self.base)
        self._codec: Codec = CODECS[manifest.codec]
        self._full: list[CheckpointReader] = []
        self._deltas: list[TensorFile] = []
        for step in manifest.steps:
            if manifest.kind == "reference":
                self._full.append(self._open_full(step))
            else:
                file = TensorFile(trajectory.path(step, step.files[0]))
                check_delta_file(manifest, file)
                self._deltas.append(file)

    def _open_full(self, step: Step) -> CheckpointReader:
        reader = CheckpointReader(Path(step.folder))
        check_same_tensors(self.base, reader)
        return reader

    def numel(self, name: str) -> int:
        """Elements d of a tensor."""
        return self.base.specs[name].numel

    def rows(self, name: str, which: Sequence[int] | None = None) -> Rows:
        """The rows of one tensor: all T, or those of the given places in `steps`."""
        chosen = range(len(self.steps)) if which is None else which
        base = self.base.files[self.base.file_of[name]]
        scales = None
        if self._full:
            readers = [self._full[at] for at in chosen]
            files = [reader.files[reader.file_of[name]] for reader in readers]
            dtypes = {file.specs[name].dtype for file in files}
            if len(dtypes) > 1:
                found = ", ".join(sorted(dtypes))
                raise CorruptArtifact("the steps differ in dtype", where=name, found=found)
            kind = _KIND[dtypes.pop()]
        else:
            files = [self._deltas[at] for at in chosen]
            kind = _KIND[self._codec.dtype]
            if self._codec.block:
                scales = tuple(_bfloat16(file.raw(name + SCALE)) for file in files)
        return Rows(
            name=name,
            numel=self.base.specs[name].numel,
            kind=kind,
            subtract=bool(self._full),
            paths=(*(file.path for file in files), base.path),
            starts=(*(file.specs[name].start for file in files), base.specs[name].start),
            scales=scales,
            base_kind=_KIND[base.specs[name].dtype],
        )

    def __enter__(self) -> Window:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.base.close()
        for full in self._full:
            full.close()
        for file in self._deltas:
            file.close()


def _bfloat16(raw: memoryview) -> NDArray[np.float32]:
    """Stored bfloat16 values as float32; NumPy has no bfloat16."""
    return (np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(np.float32)
