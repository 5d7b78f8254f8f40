"""RLVR with real TRL on a tiny real model: the window is exactly the steps, and the same inputs give the same bytes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from relex.checkpoints.digest import model_sha256
from relex.core.digest import folder_sha256
from relex.params.load import load
from relex.policy.completions import read_completions
from relex.rewards.problem import load_split
from relex.stages.base import stage as base
from relex.stages.problems import stage as problems
from relex.stages.train import stage as train
from relex.stages.train.step_log import COLUMNS
from relex.trajectory.materialize import materialize
from relex.trajectory.reader import Trajectory, verify
from tests.builders.project import ROOT, SMALL, Project

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A small night's problems, base and training."""
    path = tmp_path_factory.mktemp("train")
    project = Project(path)
    (path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    project.change(SMALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        params = load(path / "params.yaml")
        problems.run(params.problems)
        base.run(params.base)
        train.run(params.train, params.problems)
    return path


def test_every_step_of_the_window_is_captured_with_its_reward(folder):
    trajectory = Trajectory(folder / "trajectory")
    assert trajectory.steps == (1, 2, 3, 4, 5, 6)
    with open(folder / "metrics/train_steps.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [float(row["reward"]) for row in rows] == list(trajectory.rewards)
    assert list(rows[0]) == list(COLUMNS)
    assert "sound" in verify(folder / "trajectory")


def delta(folder: Path, step: int, out: Path) -> dict[str, torch.Tensor]:
    """theta_step - theta_0 of every tensor, read back through the codec."""
    materialize(folder / "trajectory", folder / "base", step, out)
    base, later = load_file(folder / "base/model.safetensors"), load_file(out / "model.safetensors")
    return {name: later[name] - base[name] for name in base}


def test_the_first_step_of_a_warm_up_does_not_move_and_later_ones_do(folder, tmp_path):
    norms = [
        sum(float(t.square().sum()) for t in delta(folder, step, tmp_path / str(step)).values()) for step in (1, 2, 6)
    ]
    assert norms[0] == 0.0  # the schedule starts at learning rate 0
    assert 0.0 < norms[1] < norms[2]


def test_adam_moves_no_weight_further_than_its_learning_rate_allows(folder, tmp_path):
    rate = SMALL["train.learning_rate"]
    # |update| <= lr * (1 - beta1) / sqrt(1 - beta2), with the defaults 0.9 and 0.999 (Kingma and Ba 2015, 2.1).
    limit = 5 * rate * 0.1 / 0.001**0.5
    farthest = max(float(tensor.abs().max()) for tensor in delta(folder, 6, tmp_path / "6").values())
    assert rate < farthest <= limit * 1.001


def test_the_manifest_says_what_made_the_trajectory(folder):
    identity = json.loads((folder / "trajectory/manifest.json").read_text())["identity"]
    assert identity["base_sha256"] == model_sha256(folder / "base")
    assert identity["train"]["window"] == {"first": 1, "every": 1}  # without its end: a run that ended can go on
    assert identity["train"]["learning_rate"] == SMALL["train.learning_rate"]


def test_completions_for_the_scan_are_on_prompts_that_were_not_trained_on(folder):
    table, _ = read_completions(folder / "completions.parquet")
    trained = {p.prompt for p in load_split(folder / "problems", "train")[:-10]}
    prompts = set(table.column("prompt").to_pylist())
    assert len(prompts) == 10
    assert not prompts & trained


@pytest.mark.parametrize("damage", ["half a step", "no step"])
def test_training_again_gives_the_same_bytes_whatever_an_interrupted_run_left(folder, monkeypatch, damage):
    """The kept state is of the last step: one whose window is not whole is not gone on from."""
    monkeypatch.chdir(folder)
    before = Trajectory(folder / "trajectory").sha256, folder_sha256(folder / "trajectory/steps")
    step = folder / "trajectory/steps/000006.safetensors"
    step.write_bytes(b"half a step") if damage == "half a step" else step.unlink()
    params = load(folder / "params.yaml")
    train.run(params.train, params.problems)
    assert (Trajectory(folder / "trajectory").sha256, folder_sha256(folder / "trajectory/steps")) == before
