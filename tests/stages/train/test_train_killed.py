"""Training killed at any moment: the next start goes on, and ends with the bytes of an undisturbed run."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from relex.core import hop
from relex.core.digest import folder_sha256
from relex.core.errors import StageFailed
from relex.core.hop import Training
from relex.core.workspace import HOP
from relex.params.load import Params, load
from relex.stages.base import stage as base
from relex.stages.problems import stage as problems
from relex.stages.train import stage as train
from relex.stages.train import state as train_state
from relex.stages.train import step_stream
from relex.stages.train.grown import grown
from relex.stages.train.trainer import EpochSampler
from relex.trajectory.reader import Trajectory, verify
from tests.builders.forked import Command
from tests.builders.project import ROOT, SMALL, Project

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("forked_commands")]

STEPS = 42
# 30 prompts of 4 a step: an epoch is 7 steps, so the order of data is drawn six times.
CHANGES = {
    **SMALL,
    "problems.sizes": {"train": 40, "validation": 40, "test": 20, "ood": 20},
    "train.budget": {"steps": STEPS, "minutes": None, "gpu_hours": None},
    "train.window": {"first": 1, "last": STEPS, "every": 1},
    "train.state_every": 3,
    "extrapolate.targets": [84],
}
ARTIFACTS = ("trajectory/steps", "trajectory/manifest.json", "completions.parquet", "metrics/train_steps.csv")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    prepare(folder, CHANGES)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        params = load(folder / "params.yaml")
        train.run(params.train, params.problems)
    return folder


def prepare(folder: Path, changes: dict) -> Params:
    """A project folder with problems and base."""
    (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    hop.write(hop.Hop(), folder / HOP)
    Project(folder).change(changes)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        params = load(folder / "params.yaml")
        problems.run(params.problems)
        base.run(params.base)
    return params


def start(folder: Path) -> Command:
    command = [sys.executable, "-m", "relex.cli", "train"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return Command(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def steps_so_far(folder: Path) -> int:
    rows = step_stream.read(folder / step_stream.STREAM)[1]
    return int(rows[-1]["step"]) if rows else 0


def same(folder: Path, other: Path) -> None:
    for name in ARTIFACTS:
        if (other / name).is_dir():
            assert folder_sha256(folder / name) == folder_sha256(other / name), name
        else:
            assert (folder / name).read_bytes() == (other / name).read_bytes(), name


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_ten_kills_at_random_moments_leave_the_trajectory_of_an_undisturbed_run(undisturbed, tmp_path):
    prepare(tmp_path, CHANGES)
    draw = random.Random(5)
    lives = 0
    for kill in range(10):
        process = start(tmp_path)
        before = steps_so_far(tmp_path)
        # Anything from the start of the imports to several states further on.
        moment = draw.choice(["early", "step", "step", "step"]) if kill else "step"
        wanted = before + draw.randint(1, 4)
        seconds = draw.uniform(0.1, 2.0) if moment == "early" else 120.0
        if before > STEPS - 10:  # close to the end: no machine is done before it is killed
            seconds = draw.uniform(0.0, 0.1)
        deadline = time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < deadline and steps_so_far(tmp_path) < wanted:
            time.sleep(0.005)
        if before <= STEPS - 10:
            time.sleep(draw.uniform(0.0, 0.25))
        assert process.poll() is None, process.communicate()[0]
        process.kill_all()
        lives += steps_so_far(tmp_path) > 0
    assert lives >= 5  # most of them in the middle of the steps
    (state,) = (tmp_path / train_state.FOLDER).glob("checkpoint-*/complete.json")
    kept = json.loads(state.read_text())["step"]
    timed = [line for line in step_stream.read(tmp_path / step_stream.STREAM)[1] if line["step"] <= kept]
    process = start(tmp_path)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    assert "missing keys" not in said  # of the tied head, which a state holds once
    # The seconds of a step never repeat: these were not trained again.
    assert timed
    assert step_stream.read(tmp_path / step_stream.STREAM)[1][: len(timed)] == timed
    same(tmp_path, undisturbed)
    assert Trajectory(tmp_path / "trajectory").steps == tuple(range(1, STEPS + 1))
    assert "sound" in verify(tmp_path / "trajectory")
    # The last state stays: what a later hop grows from.
    assert [state.name for state in (tmp_path / train_state.FOLDER).iterdir()] == [f"checkpoint-{STEPS}"]


def test_an_order_of_data_is_drawn_for_every_epoch_and_the_same_after_a_resume():
    at = SimpleNamespace(global_step=0)
    sampler = EpochSampler(prompts=30, prompts_per_step=4, repeats=2, seed=3, passes=1, state=lambda: at)
    first = list(sampler)
    assert len(first) == len(sampler) == 7 * 4 * 2
    assert first[::2] == first[1::2]
    assert len(set(first)) == 28
    at.global_step = 7
    second = list(sampler)
    assert second != first
    at.global_step = 9  # in the middle of the second epoch: the trainer skips what it has done of the same order
    assert list(sampler) == second


def test_a_budget_of_time_ends_inside_it_and_more_budget_goes_on_to_the_same_bytes(undisturbed, tmp_path, monkeypatch):
    changes = {**CHANGES, "train.budget": {"steps": STEPS, "minutes": 0.02, "gpu_hours": None}}
    prepare(tmp_path, changes)
    monkeypatch.chdir(tmp_path)
    params = load(tmp_path / "params.yaml")
    begun = time.monotonic()
    with contextlib.suppress(StageFailed):  # on a slow machine: fewer than two steps
        train.run(params.train, params.problems)
    training = time.monotonic() - begun
    seen = Trajectory(tmp_path / "trajectory").steps
    assert len(seen) < STEPS
    assert seen == tuple(range(1, len(seen) + 1))
    assert training < 60
    Project(tmp_path).change(CHANGES)
    params = load(tmp_path / "params.yaml")
    train.run(params.train, params.problems)
    same(tmp_path, undisturbed)


def test_a_training_that_a_later_hop_lets_grow_goes_on_to_the_same_bytes(undisturbed, tmp_path, monkeypatch):
    window = {"first": 1, "last": STEPS // 2, "every": 1}
    half = {"train.budget": CHANGES["train.budget"] | {"steps": STEPS // 2}, "train.window": window}
    params = prepare(tmp_path, {**CHANGES, **half})
    monkeypatch.chdir(tmp_path)
    train.run(params.train, params.problems)
    before = step_stream.read(tmp_path / step_stream.STREAM)[1]
    assert len(before) == STEPS // 2
    train.run(params.train, params.problems, Training(grown=1))
    # The seconds of a step never repeat: the first half was not trained again.
    assert step_stream.read(tmp_path / step_stream.STREAM)[1][: len(before)] == before
    same(tmp_path, undisturbed)


def test_a_section_grows_by_whole_strides_and_its_limits_with_it():
    section = load(ROOT / "params.yaml").train
    window = section.window.model_copy(update={"first": 3, "last": 11, "every": 4})
    budget = section.budget.model_copy(update={"steps": 13, "minutes": 2.0})
    longer = grown(section.model_copy(update={"window": window, "budget": budget}), Training(grown=2))
    assert longer.window.steps == (3, 7, 11, 15, 19, 23, 27, 31, 35)
    assert (longer.budget.steps, longer.budget.minutes, longer.budget.gpu_hours) == (13 + 24, 6.0, None)
    assert grown(section, Training()) == section


def test_the_order_of_data_goes_on_where_an_earlier_training_ended():
    def order(before: int, step: int) -> list[int]:
        state = lambda: SimpleNamespace(global_step=step)  # noqa: E731
        return list(
            EpochSampler(prompts=30, prompts_per_step=4, repeats=1, seed=3, passes=1, state=state, before=before)
        )

    whole = [index for step in range(0, 42, 7) for index in order(0, step)]
    later = [index for step in range(0, 35, 7) for index in order(5, step)]
    assert later == whole[5 * 4 : 5 * 4 + len(later)]


def test_a_state_counts_only_when_it_is_complete_and_of_this_run(tmp_path, monkeypatch):
    import torch

    monkeypatch.chdir(tmp_path)
    sketches = torch.zeros(2, 8)
    for step in (3, 6):
        train_state.path(step).mkdir(parents=True)
        train_state.complete(step, of="this", seconds=1.5, captured=[1, 2], sketches=sketches)
    assert [path.name for path in train_state.FOLDER.iterdir()] == ["checkpoint-6"]  # only the newest is kept
    assert train_state.newest("this", (1, 2), (1, 2, 7)).step == 6
    assert train_state.newest("this", (1,), (1, 2, 7)) is None  # the window lacks a step: the state is no use
    assert not train_state.path(6).exists()
    train_state.path(9).mkdir(parents=True)
    train_state.complete(9, of="this", seconds=1.5, captured=[1, 2], sketches=sketches)
    train_state.path(12).mkdir()  # being written when the machine died
    assert train_state.newest("this", (1, 2), (1, 2)).step == 9
    assert train_state.newest("another", (1, 2), (1, 2)) is None
