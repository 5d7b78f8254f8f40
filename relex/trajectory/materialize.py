"""`relex materialize`: an observed step written back as a checkpoint folder, theta_0 + decode(delta), in pieces."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from pathlib import Path

import torch

from relex.checkpoints.compare import check_same_tensors
from relex.checkpoints.side_files import copy_side_files
from relex.checkpoints.tensors import CheckpointReader, TensorFile, torch_dtype
from relex.checkpoints.tying import tied_twins
from relex.checkpoints.writer import CheckpointWriter
from relex.core import atomic, progress
from relex.core.errors import InputError
from relex.trajectory import stamps
from relex.trajectory.codec import CODECS, SCALE
from relex.trajectory.manifest import Step
from relex.trajectory.reader import CACHE, Trajectory, check_delta_file

_PIECE = 1 << 22  # values at a time, a multiple of codec.BLOCK

Piece = Callable[[int, int], torch.Tensor]  # theta_step - theta_0 of the flat values [start, stop), float64


def materialize(
    trajectory: Path, base: Path, step: int, out: Path, *, replace: bool = False, thorough: bool = False
) -> None:
    """Write theta_step to the folder `out`, laid out like `base`; only that step is read.

    Formed in float64, rounded once to float32 and then to the base's dtype, as a candidate is: the same bits as a sum
    with weight one. InputError when the step was not observed, its files are not what the manifest says, or
    `out` exists; with `replace` it is replaced. thorough: hashed whatever their stamps say (stamps.py).
    """
    opened = Trajectory(trajectory)
    found = next((one for one in opened.manifest.steps if one.step == step), None)
    if found is None:
        raise InputError("not an observed step", where=trajectory, expected=_listed(opened.steps), found=step)
    opened.check_complete()
    opened.check_base(base, thorough=thorough)
    files = [(opened.path(found, file), file.sha256) for file in found.files]
    stamps.check_files(opened.folder / CACHE, files, thorough=thorough)
    with atomic.new_folder(out, replace=replace) as folder, contextlib.ExitStack() as stack:
        origin = stack.enter_context(CheckpointReader(base))
        delta_of = _reference(found, origin, stack) if found.folder else _deltas(opened, found, stack)
        copy_side_files(base, folder)
        writer = stack.enter_context(CheckpointWriter(folder, origin))
        twins = tied_twins(origin)
        heads = {embedding: head for head, embedding in twins.items()}
        for name in progress.bar(origin.names, desc="materialize", unit="tensor"):
            if name in twins:
                continue
            places = [name, heads[name]] if name in heads else [name]
            if name in opened.manifest.tensors:
                _write(writer, origin, name, places, delta_of(name))
            else:
                for place in places:
                    writer.write_raw(place, origin.raw(name))


def _write(writer: CheckpointWriter, origin: CheckpointReader, name: str, places: list[str], delta_of: Piece) -> None:
    theta, dtype = origin.tensor(name).view(-1), torch_dtype(origin.specs[name].dtype)
    for start in range(0, theta.numel(), _PIECE):
        stop = min(start + _PIECE, theta.numel())
        under, delta = theta[start:stop].float(), delta_of(start, stop)
        # What did not move keeps theta_0's own bits, the sign of zero included.
        moved = torch.where(delta == 0.0, under, (under.double() + delta).float()).to(dtype)
        for place in places:
            writer.write(place, moved, start)


def _deltas(opened: Trajectory, step: Step, stack: contextlib.ExitStack) -> Callable[[str], Piece]:
    file = TensorFile(opened.path(step, step.files[0]))
    stack.callback(file.close)
    check_delta_file(opened.manifest, file)
    codec = CODECS[opened.manifest.codec]

    def delta_of(name: str) -> Piece:
        stored = {"": file.tensor(name)} | ({SCALE: file.tensor(name + SCALE)} if codec.block else {})
        out = torch.empty(min(_PIECE, math.prod(opened.manifest.tensors[name][1])))

        def piece(start: int, stop: int) -> torch.Tensor:
            codec.decode(stored, start, stop, out[: stop - start])
            return out[: stop - start].double()

        return piece

    return delta_of


def _reference(step: Step, origin: CheckpointReader, stack: contextlib.ExitStack) -> Callable[[str], Piece]:
    full = stack.enter_context(CheckpointReader(Path(step.folder)))
    check_same_tensors(origin, full)

    def delta_of(name: str) -> Piece:
        theirs, ours = full.tensor(name).view(-1), origin.tensor(name).view(-1)
        return lambda start, stop: theirs[start:stop].double() - ours[start:stop].double()

    return delta_of


def _listed(steps: tuple[int, ...]) -> str:
    shown = [str(step) for step in steps]
    return ", ".join(shown if len(shown) <= 12 else [*shown[:6], "...", *shown[-5:]])
