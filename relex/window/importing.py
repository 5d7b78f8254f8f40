"""`relex import`: a trajectory of full checkpoints that something else saved.

By reference: the manifest names the files and their hashes, nothing is copied, and the only cost is hashing every
file once. With copy: each checkpoint becomes a delta under a codec, one tensor in memory at a time. Adapters are always
copied: what they change about the base is in no file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from relex.checkpoints import repeats
from relex.checkpoints.compare import check_constants, check_same_tensors, check_tied
from relex.checkpoints.digest import weights_sha256
from relex.checkpoints.tensors import CheckpointReader
from relex.core import atomic
from relex.core.errors import CorruptArtifact, InputError
from relex.trajectory import stamps
from relex.trajectory.manifest import Manifest, Step, StepFile
from relex.trajectory.numbering import LAYOUT, NESTED
from relex.trajectory.reader import CACHE
from relex.trajectory.writer import TrajectoryWriter, moving_tensors
from relex.window.adapter_config import Lora
from relex.window.adapters import Adapter, is_adapter
from relex.window.hub import HUB, fetch_revisions

COPY_CODEC = "float32"


def import_checkpoints(
    source: Path | str, base: Path | None, out: Path, *, copy: bool = False, codec: str = COPY_CODEC
) -> str:
    """Write the trajectory `out` of the checkpoints under `source`; returns a summary line.

    base: theta_0's checkpoint folder; None for the one that adapters name, where it is a folder of this machine.

    source: a folder of checkpoint-N, global_step_N[/actor/huggingface], step_N or step-N, or `hub:owner/name`, a hub
    repository with such branches. It stays untouched. InputError for no or one checkpoint, a step that is there
    twice, other tensors than the base's, an `out` that exists. Checkpoints with the same weights are named in one line.
    """
    found = fetch_revisions(str(source)) if str(source).startswith(HUB) else find_checkpoints(Path(source))
    if len(found) < 2:
        raise InputError("fewer than two checkpoints", where=source, expected="checkpoint-N, global_step_N, step_N")
    # Where the base is an adapter too, its factors are taken for tensors like any other.
    adapters = [is_adapter(checkpoint) and not (base and is_adapter(base)) for _, checkpoint in found]
    if any(adapters) and not all(adapters):
        odd = found[adapters.index(not adapters[0])][1]
        raise InputError("adapters and whole checkpoints in one run", where=source, found=odd.name)
    if base is None:
        if not any(adapters):
            raise InputError("no base", where="--base", expected="the checkpoint folder that the run started from")
        base = Lora.read(found[0][1]).base_folder()
    with atomic.new_folder(out) as folder, CheckpointReader(base) as origin:
        if any(adapters):
            _merge(found, base, origin, folder, codec)
            repeats.warn(repeats.same_weights(found), source)
            return f"{out}: {_steps(found)} of adapters, their change to {base} as {codec} deltas"
        for _, checkpoint in found:
            with CheckpointReader(checkpoint) as reader:
                check_same_tensors(origin, reader)
                check_tied(reader, origin)
                check_constants(reader, origin)
        if copy:
            _copy(found, base, origin, folder, codec)
            kind = f"copied as {codec} deltas"
        else:
            _refer(found, base, origin, folder)
            kind = "by reference"
    repeats.warn(repeats.same_weights(found), source)
    return f"{out}: {_steps(found)} {kind}"


def _steps(found: Sequence[tuple[int, Path]]) -> str:
    return f"{len(found)} steps ({found[0][0]}..{found[-1][0]})"


def find_checkpoints(source: Path) -> list[tuple[int, Path]]:
    """(step, folder) in the order of steps."""
    if not source.is_dir():
        raise InputError("not a folder", where=source, expected="a folder of checkpoints, or hub:OWNER/NAME")
    found: dict[int, Path] = {}
    for entry in sorted(source.iterdir()):
        match = LAYOUT.fullmatch(entry.name)
        if not match or not entry.is_dir():
            continue
        step = int(match[1])
        folder = entry / NESTED if (entry / NESTED).is_dir() else entry
        if step in found:
            raise InputError("a step is there twice", where=source, found=f"{found[step].name} and {entry.name}")
        found[step] = folder
    found.pop(0, None)  # step 0 is the base itself, which some trainers save too
    return sorted(found.items())


def _refer(found: Sequence[tuple[int, Path]], base: Path, origin: CheckpointReader, folder: Path) -> None:
    """Write the manifest of a trajectory by reference; several files are hashed at a time."""
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


def _copy(found: Sequence[tuple[int, Path]], base: Path, origin: CheckpointReader, folder: Path, codec: str) -> None:
    folder.rmdir()  # the writer makes its own
    writer = TrajectoryWriter(folder, base=base, codec=codec, identity={"imported": [step for step, _ in found]})
    for step, checkpoint in tqdm(found, desc="copy", unit="checkpoint", disable=None):
        with CheckpointReader(checkpoint) as reader:
            writer.append(step, _Deltas(reader, origin))


def _merge(found: Sequence[tuple[int, Path]], base: Path, origin: CheckpointReader, folder: Path, codec: str) -> None:
    """Write what each adapter changes about the base, for the tensors that it can change."""
    with Adapter(found[0][1], origin) as first:
        names = set(first)
    for _, checkpoint in found:  # all of them are looked at before anything is computed
        with Adapter(checkpoint, origin) as adapter:
            if odd := sorted(names ^ set(adapter)):
                raise CorruptArtifact("other tensors than the first adapter", where=f"{checkpoint}: {odd[0]}")
    folder.rmdir()  # the writer makes its own
    identity = {"imported": [step for step, _ in found], "adapters": True}
    writer = TrajectoryWriter(folder, base=base, codec=codec, identity=identity, only=names)
    for step, checkpoint in tqdm(found, desc="merge", unit="adapter", disable=None):
        with Adapter(checkpoint, origin) as adapter:
            writer.append(step, adapter)


class _Deltas(Mapping[str, torch.Tensor]):
    """theta_step - theta_0 of a full checkpoint, float32, each computed when asked for."""

    def __init__(self, checkpoint: CheckpointReader, base: CheckpointReader):
        self._checkpoint, self._base = checkpoint, base
        self._names = list(moving_tensors(base))

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._checkpoint.tensor(name).float() - self._base.tensor(name).float()

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
