"""`relex import`: a trajectory of full checkpoints that something else saved.

By reference: the manifest names the files and their hashes, nothing is copied, and the only cost is hashing every
file once. With copy: each checkpoint becomes a delta under a codec, one tensor in memory at a time. Adapters are always
copied: what they change about the base is in no file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from relex.checkpoints import repeats
from relex.checkpoints.tensors import CheckpointReader
from relex.core import atomic
from relex.core.errors import CorruptArtifact, InputError
from relex.trajectory.layouts import check_readable, find_checkpoints
from relex.trajectory.reference import check_one_run, write_reference
from relex.trajectory.writer import TrajectoryWriter, moving_tensors
from relex.window import started_from
from relex.window.adapter_config import Lora
from relex.window.adapters import Adapter, is_adapter
from relex.window.hub import HUB, fetch_revisions

COPY_CODEC = "float32"


def import_checkpoints(
    source: Path | str, base: Path | None, out: Path, *, copy: bool = False, codec: str = COPY_CODEC
) -> str:
    """Write the trajectory `out` of the checkpoints under `source`; returns a summary line, below it a warning where
    something speaks against the base (started_from.py).

    base: theta_0's checkpoint folder; None for the one that adapters name, where it is a folder of this machine.

    source: a folder in one of the layouts of trajectory/layouts.py, or `hub:owner/name`, a hub repository with branches
    step_N. It stays untouched. InputError for no or one checkpoint, a step that is there twice, weights that are not
    safetensors, other tensors than the base's, an `out` that exists. Checkpoints with the same weights are named in one
    line.
    """
    found = fetch_revisions(str(source)) if str(source).startswith(HUB) else find_checkpoints(Path(source))
    if len(found) < 2:
        raise InputError("fewer than two checkpoints", where=source, expected="checkpoint-N, global_step_N, step_N")
    check_readable(found)
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
            said = f"{out}: {_steps(found)} of adapters, their change to {base} as {codec} deltas"
            return _lines(said, started_from.other_base(found[-1][1], base))
        check_one_run(found, origin)
        if copy:
            _copy(found, base, origin, folder, codec)
            kind = f"copied as {codec} deltas"
        else:
            write_reference(found, base, origin, folder)
            kind = "by reference"
        far = started_from.far(found, origin)
    repeats.warn(repeats.same_weights(found), source)
    return _lines(f"{out}: {_steps(found)} {kind}", far)


def _lines(*said: str | None) -> str:
    return "\n".join(line for line in said if line)


def _steps(found: Sequence[tuple[int, Path]]) -> str:
    return f"{len(found)} steps ({found[0][0]}..{found[-1][0]})"


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
