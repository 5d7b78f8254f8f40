"""Full weights and adapters, on one process, on two with the weights whole (DDP) and spread (FSDP2), with rollouts by
transformers and by vLLM inside the training: each captured, killed, resumed and extrapolated, in miniature."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from relex.checkpoints.digest import weights_sha256
from relex.stages.extrapolate.stage import extrapolate_folder
from relex.stages.train import step_stream
from relex.stages.train.step_log import IMPORTANCE, tables
from relex.trajectory.materialize import materialize
from relex.trajectory.reader import Trajectory, verify
from relex.window.options import Options
from relex.window.request import Request
from tests.builders.on_processors import Training, run
from tests.builders.project import SMALL, Project
from tests.stages.train.test_train_killed import prepare

pytestmark = [pytest.mark.real, pytest.mark.slow]

STEPS, KILLED, STATE = 4, 3, 2  # the last step, that which is on disk when it is killed, that which it goes on from
SHORT = {
    **SMALL,
    "train.budget.steps": STEPS,
    "train.window": {"first": 1, "last": STEPS, "every": 1},
    "train.state_every": STATE,
    "train.per_device_train_batch_size": 16,
    "train.learning_rate": 1e-3,
    "train.codec": "float32",
    "train.warmup_steps": 0,
}
LORA = {"r": 4, "alpha": 8, "dropout": 0.0, "target_modules": "all-linear"}


@dataclass(frozen=True)
class Combination:
    kind: str
    processes: str
    backend: str

    def __str__(self) -> str:
        return f"{self.kind}-{self.processes}-{self.backend}"

    @property
    def changes(self) -> dict[str, Any]:
        generation = {"backend": self.backend, "mode": "colocate"}
        return {"train.lora": LORA if self.kind == "lora" else None, "train.generation": generation}

    def trainings(self, folder: Path) -> list[Training]:
        """Killed, and once more."""
        how: dict[str, Any] = {"one": {}, "ddp": {"processes": 2}, "fsdp": {"processes": 2, "sharded": True}}
        return [Training(str(folder / str(self)), killed_after=at, **how[self.processes]) for at in (KILLED, None)]


ALL = [
    Combination(*names)
    for names in itertools.product(("full", "lora"), ("one", "ddp", "fsdp"), ("transformers", "vllm"))
]
NARROW = "narrow"  # under FSDP2 with bfloat16 arithmetic


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one of each, all from one base."""
    folder = tmp_path_factory.mktemp("combinations")
    (folder / "base").mkdir()
    prepare(folder / "base", SHORT)
    changes: dict[str, dict[str, Any]] = {str(one): one.changes for one in ALL} | {NARROW: {}}
    for name, changed in changes.items():
        shutil.copytree(folder / "base", folder / name)
        Project(folder / name).change(changed)
    plan = [training for one in ALL for training in one.trainings(folder)]
    environment = {"ACCELERATE_MIXED_PRECISION": "bf16"}
    run([*plan, Training(str(folder / NARROW), 2, sharded=True, environment=environment)], vllm=True)
    return folder


def weights(folder: Path, step: int, out: Path) -> dict[str, torch.Tensor]:
    materialize(folder / "trajectory", folder / "base", step, out, replace=True)
    return load_file(out / "model.safetensors")


@pytest.mark.parametrize("one", ALL, ids=str)
def test_it_goes_on_where_it_was_killed_to_the_same_steps_and_is_extrapolated(
    trained: Path, one: Combination, tmp_path: Path
) -> None:
    folder = trained / str(one)
    assert Trajectory(folder / "trajectory").steps == (1, 2, 3, 4)
    assert "sound" in verify(folder / "trajectory")
    again = f"{KILLED:06d}.safetensors"  # trained before the kill, and once more from the state
    killed, resumed = folder / "killed" / again, folder / "trajectory/steps" / again
    if (one.kind, one.backend) == ("lora", "vllm"):
        # For every rollout TRL adds the adapters to the weights and takes them off again, in float32: what that rounds
        # away stays until the run is started again.
        first, second = load_file(killed), load_file(resumed)
        gaps = {name: torch.linalg.norm(second[name] - first[name]) / torch.linalg.norm(first[name]) for name in first}
        assert max(gaps.values()) < 1e-5
    else:
        assert killed.read_bytes() == resumed.read_bytes()
    lines = step_stream.read(folder / step_stream.STREAM)[1]
    before = step_stream.read(folder / "killed/train_steps.jsonl")[1]
    # The seconds of a step never repeat: those before the state were not trained again.
    assert lines[:STATE] == before[:STATE]
    assert lines[STATE] != before[STATE]
    rows, _ = tables(lines)
    shares = [row.get("share_dropped", -1.0) for row in rows]
    assert all((set(IMPORTANCE) <= set(row)) is (one.backend == "vllm") for row in rows)
    assert all(0.0 <= share <= 1.0 for share in shares) is (one.backend == "vllm")
    request = Request((12,), options=Options(device="cpu"))
    extrapolate_folder(folder / "trajectory", folder / "base", request, tmp_path / "out")
    weights(folder, STEPS, tmp_path / "last")
    assert weights_sha256(tmp_path / "out/step_000012") != weights_sha256(tmp_path / "last")


@pytest.mark.parametrize("kind", ["full", "lora"])
@pytest.mark.parametrize("processes", ["ddp", "fsdp"])
def test_two_processes_capture_what_one_captures(trained: Path, kind: str, processes: str, tmp_path: Path) -> None:
    one, two = (trained / f"{kind}-{how}-transformers" for how in ("one", processes))
    assert Trajectory(two / "trajectory").manifest.tensors == Trajectory(one / "trajectory").manifest.tensors
    assert Trajectory(two / "trajectory").rewards == Trajectory(one / "trajectory").rewards
    base, first, second = (
        load_file(one / "base/model.safetensors"),
        weights(one, 2, tmp_path),
        weights(two, 2, tmp_path),
    )
    moved = [name for name in base if not torch.equal(base[name], first[name])]
    assert moved
    for name in moved:
        gap = torch.linalg.norm(second[name] - first[name])
        assert gap <= 2e-2 * torch.linalg.norm(first[name] - base[name]), name


def test_bfloat16_arithmetic_sums_gradients_and_hands_outputs_on_in_float32(trained: Path) -> None:
    policy = "param_dtype=torch.bfloat16, reduce_dtype=torch.float32, output_dtype=torch.float32"
    assert (trained / f"{NARROW}.log").read_text().count(policy) == 2
