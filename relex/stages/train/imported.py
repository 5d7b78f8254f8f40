"""The stage where another trainer trains: its checkpoints become the trajectory, by reference.

Which ones is in hop.json, resolved when the hop began (nights/arrived.py); here each is held against its hash.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from relex.checkpoints.digest import weights_sha256
from relex.checkpoints.tensors import CheckpointReader
from relex.core.asking import Asking
from relex.core.atomic import new_folder, write_json
from relex.core.errors import CorruptArtifact, InputError
from relex.core.hop import Checkpoint, Training
from relex.core.timing import timed
from relex.core.workspace import BASE, TRAIN_METRICS, TRAIN_SECONDS, TRAIN_STEPS, TRAJECTORY
from relex.stages.train import drawn
from relex.stages.train.params import Imported
from relex.stages.train.step_log import COLUMNS, SECONDS, write_table
from relex.trajectory.reference import check_one_run, write_reference

_MOST = 4  # checkpoints hashed at a time


def take(section: Imported, problems: Asking, training: Training) -> None:
    """Write trajectory/ by reference, completions.parquet, and metrics with what is known of such a training.

    InputError for a hop that names no checkpoints, or one that is gone; CorruptArtifact for one that changed since, or
    cannot be of a run from this base.
    """
    taken = training.checkpoints
    if len(taken) < 2:
        raise InputError(
            "the present hop names no checkpoints of another trainer",
            where="hop.json: training.checkpoints",
            expected="two at least",
            found=len(taken),
            todo="relex hop --begin takes those that are complete",
        )
    _, held_out = drawn.deal(section, 0)
    drawn.check(section, problems, held_out)
    run = Path(section.run)
    with timed("train"):
        check_unchanged(run, taken)
        found = [(one.step, run / one.path) for one in taken]
        with new_folder(TRAJECTORY, replace=True) as folder, CheckpointReader(BASE) as origin:
            check_one_run(found, origin)
            write_reference(found, BASE, origin, folder)
        last = taken[-1].step
        drawn.keep_completions(section, problems, held_out, last)
        write_table(TRAIN_STEPS, COLUMNS, [])
        write_table(TRAIN_SECONDS, SECONDS, [])
        # Steps are the other trainer's; its rollouts and their rewards are not known here.
        metrics = {"steps": last, "completions": 0, "tokens": 0, "observed_last": last, "imported": len(taken)}
        write_json(TRAIN_METRICS, metrics)
    print(f"train: {len(taken)} checkpoints of {run} by reference, steps {taken[0].step}..{last}")


def check_unchanged(run: Path, taken: Sequence[Checkpoint]) -> None:
    """InputError for a checkpoint that is gone, CorruptArtifact for one whose weights are not what the hop took."""
    for one in taken:
        if not (run / one.path).is_dir():
            raise InputError(
                "a checkpoint that this hop takes is gone",
                where=run / one.path,
                expected=f"weights {one.sha256[:12]}",
                todo="let the trainer keep its checkpoints for a night; `relex hop --begin` takes those that are there",
            )
    with ThreadPoolExecutor(_MOST) as pool:
        hashes = list(pool.map(weights_sha256, [run / one.path for one in taken]))
    for one, sha256 in zip(taken, hashes, strict=True):
        if sha256 != one.sha256:
            raise CorruptArtifact(
                "the checkpoint changed since this hop began",
                where=run / one.path,
                expected=f"weights {one.sha256[:12]}",
                found=f"weights {sha256[:12]}",
                todo="put it back as it was; a run that was trained again goes into a folder of its own: name that in "
                "train.run, which begins a new campaign",
            )
