"""What another trainer has written into its run by now: which checkpoints are complete, and what they hash to.

A checkpoint counts once all of this holds; until then it is left for the next night:
- its weights are safetensors, readable to their last byte by their headers, its index and all shards are there, and so
  is config.json;
- its trainer says that it is complete, or nothing that is read of it has changed for `train.settled` seconds.

What a trainer says: verl keeps the last complete step in latest_checkpointed_iteration.txt, and a later one does not
count, however old it is: verl writes it again when it goes on. TRL writes trainer_state.json into a checkpoint after
its weights. Both vouch for what was there when they were written, not for what was put there later. OpenRLHF, slime and
NeMo-RL leave no such word (NeMo-RL renames tmp_step_N once it is complete): for them time has to pass.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from relex.checkpoints.digest import weights_sha256
from relex.checkpoints.tensors import ADAPTER, CheckpointReader
from relex.core.errors import InputError
from relex.core.hop import Checkpoint
from relex.stages.train.params import Imported
from relex.trajectory.layouts import find_checkpoints, holds_weights, other_format
from relex.trajectory.numbering import LAYOUT

_LAST = "latest_checkpointed_iteration.txt"  # in the run
_STATE = "trainer_state.json"  # in a checkpoint
_CONFIG = "config.json"
_SAID = 3  # clauses
_MOST = 4  # checkpoints hashed at a time


@dataclass(frozen=True)
class Arrived:
    """run: as params.yaml names it. checkpoints: complete ones, by step, without those that repeat the one before.
    left: a clause for each other one, why it does not count."""

    run: str
    checkpoints: tuple[Checkpoint, ...]
    left: tuple[str, ...]

    @property
    def said(self) -> str:
        """Those clauses, to be added to a sentence; the last of them where there are many."""
        more = [f"{len(self.left) - _SAID} earlier ones, too"] if len(self.left) > _SAID else []
        return "".join(f"; {clause}" for clause in (*self.left[-_SAID:], *more))


def arrived(train: Imported, known: Sequence[Checkpoint] = ()) -> Arrived:
    """The checkpoints of train.run. known: those of the hop before, whose hashes are taken as they are: the stage holds
    every file against them.

    InputError for a run that is missing, adapters, weights in another format, and more repeats than checkpoints.
    """
    run = Path(train.run)
    complete: list[tuple[int, Path]] = []
    left = []
    for step, folder in find_checkpoints(run):
        if (why := _unfinished(run, step, folder, train.settled)) is None:
            complete.append((step, folder))
        else:
            left.append(f"step {step} is left alone: {why}")
    hashes = {(one.step, one.path): one.sha256 for one in known}
    found = [(step, folder.relative_to(run).as_posix()) for step, folder in complete]
    new = [place for place in found if place not in hashes]
    with ThreadPoolExecutor(_MOST) as pool:
        hashes |= dict(zip(new, pool.map(lambda place: weights_sha256(run / place[1]), new), strict=True))
    checkpoints = [Checkpoint(step=step, path=path, sha256=hashes[step, path]) for step, path in found]
    kept, repeats = _without_repeats(checkpoints, run)
    return Arrived(train.run, kept if train.window is None else kept[-train.window :], (*repeats, *left))


def _unfinished(run: Path, step: int, folder: Path, settled: float) -> str | None:
    """Why a checkpoint does not count yet; None where it does."""
    try:
        if not holds_weights(folder):
            other = other_format(folder)
            # verl writes its own shards before the copy in safetensors: an error only once nothing more comes.
            if other is not None and _waiting(run, step, folder, _files_below(folder), settled) is None:
                raise other
            return "its weights are not there yet"
        try:
            with CheckpointReader(folder) as reader:
                files = [folder / name for name in reader.files]
        except InputError as error:  # cut off, or a shard is not there
            return str(error)
        if files == [folder / ADAPTER]:
            raise InputError(
                "an adapter, where a night takes whole checkpoints by reference",
                where=folder,
                todo="merge it into the base, or let the trainer save merged weights; `relex import` copies adapters",
            )
        if not (folder / _CONFIG).is_file():
            return f"{_CONFIG} is not there yet"
        return _waiting(run, step, folder, [*files, folder / _CONFIG], settled)
    except OSError as error:  # taken away, or renamed, while it was looked at
        return f"{error.strerror}: {error.filename}"


def _waiting(run: Path, step: int, folder: Path, files: Sequence[Path], settled: float) -> str | None:
    """Why these files may still be written to; None where they are not."""
    last = _last_complete(run)
    if last is not None and step > last:
        return f"the last complete step is {last}, says {_LAST}"
    states = [path.stat() for path in files]
    marks = [run / _LAST] if last is not None else []
    marks += [folder / _STATE] if (folder / _STATE).is_file() else []
    written = max(state.st_mtime_ns for state in states)
    if any(mark.stat().st_mtime_ns >= written for mark in marks):
        return None
    age = time.time() - max(max(state.st_mtime, state.st_ctime) for state in states)
    if age < settled:
        return f"it changed {max(age, 0.0):.0f} s ago, and train.settled is {settled:g}"
    return None


def _last_complete(run: Path) -> int | None:
    """The step that verl says was complete last; None where nothing says so."""
    try:
        return int((run / _LAST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _files_below(folder: Path) -> list[Path]:
    """All files of a step; of the whole step where `folder` lies inside it."""
    step = next((one for one in (folder, *folder.parents) if LAYOUT.fullmatch(one.name)), folder)
    return [path for path in step.rglob("*") if path.is_file()]


def _without_repeats(found: Sequence[Checkpoint], run: Path) -> tuple[tuple[Checkpoint, ...], list[str]]:
    kept: list[Checkpoint] = []
    repeats: list[str] = []
    for one in found:
        if kept and kept[-1].sha256 == one.sha256:
            repeats.append(f"step {one.step} is left out: it repeats the weights of step {kept[-1].step}")
        else:
            kept.append(one)
    if 2 * len(repeats) > len(found):
        raise InputError(
            "more than half of the checkpoints repeat the one before",
            where=run,
            found=f"{len(repeats)} of {len(found)}",
            todo="the trainer stands still, or saved its last weights again and again: remove the repeated ones",
        )
    return tuple(kept), repeats
