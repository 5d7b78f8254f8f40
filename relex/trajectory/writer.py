"""A window written to disk, step by step.

A step is in the manifest only after its file is complete and synced, so a killed run leaves a shorter window, never
a torn one.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from relex.checkpoints.digest import weights_sha256
from relex.checkpoints.header import FLOATING, write_header
from relex.checkpoints.tensors import CheckpointReader
from relex.checkpoints.tying import implied_heads, tied_twins
from relex.core import atomic
from relex.core.digest import file_sha256
from relex.core.errors import InputError, RelexError
from relex.trajectory import manifest
from relex.trajectory.codec import CODECS, SCALE
from relex.trajectory.manifest import Manifest, Step, StepFile
from relex.trajectory.numbering import STEPS, file_name
from relex.trajectory.reader import check_finite


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

    A folder that already holds the same base, codec and identity is continued, with its steps up to the first whose
    file is missing or has another size; anything else under that name is removed and begun anew, with a manifest
    without steps.
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
                whole = itertools.takewhile(self._is_whole, found.steps)
                self.truncate(max((step.step for step in whole), default=0))
                return
        if self.folder.exists():
            shutil.rmtree(self.folder)
        (self.folder / STEPS).mkdir(parents=True)
        fresh.save(self.folder)

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps that are complete on disk."""
        return tuple(step.step for step in self._manifest.steps)

    def _is_whole(self, step: Step) -> bool:
        paths = [(self.folder / file.file, file.bytes) for file in step.files]
        return all(path.is_file() and path.stat().st_size == size for path, size in paths)

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
        where = self.folder / file_name(step)
        if self.steps and step <= self.steps[-1]:
            raise InputError("a step must come after the last one", where=where, expected=f"> {self.steps[-1]}")
        if step < 1 or (reward is not None and not math.isfinite(reward)):
            raise InputError("not a step with a reward", where=where, found=f"step {step}, reward {reward}")
        names = self._names(deltas, where)
        try:
            with atomic.new_file(where) as temporary:
                self._write(temporary, deltas, names, where)
                entry = StepFile(file_name(step), file_sha256(temporary), temporary.stat().st_size)
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
                layout[name + SCALE] = ("BF16", (codec.scales(math.prod(shape)),))
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
