"""Weights spread over two processes by FSDP2, on gloo: captured as one process captures them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from relex.stages.train import stage as train
from relex.trajectory.materialize import materialize
from relex.trajectory.reader import Trajectory, verify
from tests.builders import fsdp_on_gloo
from tests.builders.project import SMALL
from tests.stages.train.test_train_killed import prepare

pytestmark = [pytest.mark.real, pytest.mark.slow]

ADAPTERS = {"train.lora": {"r": 4, "alpha": 8, "dropout": 0.0, "target_modules": "all-linear"}}
SHORT = {
    **SMALL,
    "train.per_device_train_batch_size": 16,
    "train.learning_rate": 1e-3,
    "train.codec": "float32",
    "train.warmup_steps": 0,
}


def weights(folder: Path, step: int) -> dict[str, torch.Tensor]:
    materialize(folder / "trajectory", folder / "base", step, folder / f"step-{step}")
    return load_file(folder / f"step-{step}/model.safetensors")


@pytest.mark.parametrize("changes", [{}, ADAPTERS], ids=["full", "lora"])
def test_two_processes_that_share_the_weights_capture_what_one_captures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    params = prepare(one, {**SHORT, **changes})
    shutil.copytree(one, two)
    done = fsdp_on_gloo.train(two)
    assert done.returncode == 0, done.stdout
    monkeypatch.chdir(one)
    train.run(params.train, params.problems)
    assert Trajectory(two / "trajectory").manifest.tensors == Trajectory(one / "trajectory").manifest.tensors
    assert "sound" in verify(two / "trajectory")
    base, first, second = load_file(one / "base/model.safetensors"), weights(one, 2), weights(two, 2)
    moved = [name for name in base if not torch.equal(base[name], first[name])]
    assert moved
    for name in moved:
        gap = torch.linalg.norm(second[name] - first[name])
        assert gap <= 2e-2 * torch.linalg.norm(first[name] - base[name]), name


def test_bfloat16_arithmetic_sums_gradients_and_hands_outputs_on_in_float32(tmp_path: Path) -> None:
    prepare(tmp_path, {**SHORT, "train.budget.steps": 2, "train.window": {"first": 1, "last": 2, "every": 1}})
    done = fsdp_on_gloo.train(tmp_path, ACCELERATE_MIXED_PRECISION="bf16")
    assert done.returncode == 0, done.stdout
    policy = "param_dtype=torch.bfloat16, reduce_dtype=torch.float32, output_dtype=torch.float32"
    assert done.stdout.count(policy) == 2, done.stdout
