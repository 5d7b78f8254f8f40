"""Other ways to train on the same tiny model: adapters, several processes, early ends, and runs that cannot work."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch
from ruamel.yaml import YAML
from safetensors.torch import load_file

from relex.checkpoints.digest import weights_sha256
from relex.core.errors import InputError, StageFailed
from relex.core.topology import Topology
from relex.params.load import Params, load
from relex.stages.extrapolate.stage import extrapolate_folder
from relex.stages.train import process as train_process
from relex.stages.train import stage as train
from relex.stages.train import state as train_state
from relex.stages.train.capture import Capture
from relex.stages.train.launch import is_launched, launch
from relex.trajectory.materialize import materialize
from relex.trajectory.reader import Trajectory, verify
from relex.window.options import Options
from relex.window.request import Request
from tests.builders.project import ROOT, SMALL, Project, family, wait_for
from tests.stages.train.test_train_killed import prepare

pytestmark = pytest.mark.real


def run(folder: Path, monkeypatch, changes: dict) -> Params:
    params = prepare(folder, {**SMALL, **changes})
    monkeypatch.chdir(folder)
    train.run(params.train, params.problems)
    return params


def test_adapters_are_captured_as_the_change_they_make_to_the_weights(tmp_path, monkeypatch):
    lora = {"r": 4, "alpha": 8, "dropout": 0.0, "target_modules": "all-linear"}
    run(tmp_path, monkeypatch, {"train.lora": lora, "train.learning_rate": 1e-3})
    trajectory = Trajectory(tmp_path / "trajectory")
    assert trajectory.steps == (1, 2, 3, 4, 5, 6)
    assert all("proj" in name for name in trajectory.manifest.tensors)  # norms and embeddings are not adapted
    assert "sound" in verify(tmp_path / "trajectory")
    before = load_file("base/model.safetensors")
    materialize(tmp_path / "trajectory", Path("base"), 6, Path("six"))
    after = load_file("six/model.safetensors")
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == set(trajectory.manifest.tensors)
    for name in moved:
        assert torch.linalg.matrix_rank((after[name] - before[name]).double(), rtol=1e-3) <= 4
    extrapolate_folder(
        tmp_path / "trajectory", Path("base"), Request((12,), options=Options(device="cpu")), tmp_path / "out"
    )
    assert weights_sha256(tmp_path / "out/step_000012") != weights_sha256(Path("six"))


def test_a_batch_below_a_group_of_completions_makes_the_same_steps(tmp_path, monkeypatch):
    """What running out of memory is answered with: a lower per_device_train_batch_size, on one process too."""
    deltas = {}
    for name, size in {"whole": 32, "half-a-group": 4}.items():
        (tmp_path / name).mkdir()
        with monkeypatch.context() as patch:
            run(tmp_path / name, patch, {"train.per_device_train_batch_size": size})
            materialize(Path("trajectory"), Path("base"), 3, Path("three"))
            base, three = load_file("base/model.safetensors"), load_file("three/model.safetensors")
        deltas[name] = {tensor: three[tensor] - base[tensor] for tensor in base}
    for name, delta in deltas["whole"].items():
        assert torch.linalg.norm(deltas["half-a-group"][name] - delta) <= 2e-2 * torch.linalg.norm(delta), name


@pytest.mark.slow
def test_several_training_processes_end_with_the_command_that_started_them_when_it_is_killed(tmp_path):
    changes = {"train.per_device_train_batch_size": 16, "train.budget.steps": 2000}
    prepare(tmp_path, {**SMALL, **changes, "train.accelerate": str(ROOT / "infra/profiles/accelerate/ddp-cpu.yaml")})
    environment = {**Project(tmp_path).environment, "PYTHONPATH": str(ROOT)}
    with open(tmp_path / "log", "wb") as log:
        command = [sys.executable, "-m", "relex.cli", "train"]
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    assert wait_for(lambda: list(tmp_path.glob("trajectory/steps/0*")) or process.poll() is not None)
    started = family(process.pid)[1:]  # the launcher and its workers: each dies with its own parent
    assert len(started) >= 3, (tmp_path / "log").read_text()
    process.kill()
    process.wait()
    assert psutil.wait_procs(started, timeout=5)[1] == []


on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


@pytest.mark.gpu
@on_cuda
@pytest.mark.parametrize(
    "changes",
    [
        {"train.bf16": True, "train.gradient_checkpointing": True},
        {"train.generation": {"backend": "vllm", "mode": "colocate"}},
    ],
    ids=["bf16", "vllm"],
)
def test_on_a_gpu_the_window_is_kept_in_float32_whatever_the_arithmetic(tmp_path, monkeypatch, changes):
    run(tmp_path, monkeypatch, changes)
    trajectory = Trajectory(tmp_path / "trajectory")
    assert trajectory.steps == (1, 2, 3, 4, 5, 6)
    assert "sound" in verify(tmp_path / "trajectory")


@pytest.mark.gpu
@on_cuda
@pytest.mark.parametrize("name", ["fsdp", "zero3"])
def test_on_gpus_sharded_weights_are_gathered_into_one_trajectory(tmp_path, name):
    """zero3 needs deepspeed beside the lock. With one process, so that one GPU is enough."""
    configuration = YAML().load((ROOT / f"infra/profiles/accelerate/{name}.yaml").read_text())
    configuration["num_processes"] = 1
    with open(tmp_path / "accelerate.yaml", "w") as handle:
        YAML().dump(configuration, handle)
    prepare(tmp_path, {**SMALL, "train.accelerate": "accelerate.yaml"})
    environment = {**Project(tmp_path).environment, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "relex.cli", "train"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sound" in verify(tmp_path / "trajectory")
    assert len(Trajectory(tmp_path / "trajectory").manifest.tensors) > 10


def test_a_level_of_skill_ends_the_observation_early(tmp_path, monkeypatch):
    changes = {
        "train.budget": {"steps": 20, "minutes": None, "gpu_hours": None},
        "train.window": {"first": 1, "last": 20, "every": 1},
        "train.stop_when": {"skill": -1000.0, "steps": 2},  # any reading is enough
        "extrapolate.targets": [40],
    }
    run(tmp_path, monkeypatch, changes)
    metrics = json.loads(Path("metrics/train.json").read_text())
    assert metrics["ended"] == "skill"
    assert 4 < metrics["observed_last"] == metrics["steps"] < 20
    assert Trajectory(tmp_path / "trajectory").steps == tuple(range(1, metrics["steps"] + 1))


def test_weights_that_are_not_numbers_end_the_run_and_the_window_before_is_kept(tmp_path, monkeypatch):
    params = prepare(tmp_path, SMALL)
    monkeypatch.chdir(tmp_path)
    observed = Capture.on_step_end

    def poisoned(self, args, state, control, **kwargs):
        if state.global_step == 4:  # what an update with an infinite gradient leaves
            with torch.no_grad():
                next(kwargs["model"].parameters())[0] = torch.nan
        observed(self, args, state, control, **kwargs)

    monkeypatch.setattr(Capture, "on_step_end", poisoned)
    with pytest.raises(StageFailed, match=r"training diverged: at step 4 .* not finite.*lower train.learning_rate"):
        train.run(params.train, params.problems)
    assert Trajectory(tmp_path / "trajectory").steps == (1, 2, 3)
    assert "sound" in verify(tmp_path / "trajectory")


def test_a_loss_that_is_not_a_number_ends_the_run_before_the_update(tmp_path, monkeypatch):
    params = prepare(tmp_path, {**SMALL, "train.window": {"first": 2, "last": 6, "every": 2}})
    monkeypatch.chdir(tmp_path)
    loss = train_process.Trainer.compute_loss

    def poisoned(self, *args, **kwargs):
        return loss(self, *args, **kwargs) * (torch.nan if self.state.global_step == 4 else 1.0)

    monkeypatch.setattr(train_process.Trainer, "compute_loss", poisoned)
    with pytest.raises(StageFailed, match=r"training diverged: the loss of step 5 is nan"):
        train.run(params.train, params.problems)
    assert Trajectory(tmp_path / "trajectory").steps == (2, 4)
    assert "sound" in verify(tmp_path / "trajectory")


def test_memory_that_runs_out_names_the_settings_to_lower(tmp_path, monkeypatch):
    params = prepare(tmp_path, SMALL)
    monkeypatch.chdir(tmp_path)

    # A machine without memory cannot be had; the error that torch gives on one is raised in its place.
    def starved(*_, **__):
        torch.empty(1 << 60)

    monkeypatch.setattr(train_process.Trainer, "train", starved)
    with pytest.raises(StageFailed, match=r"out of memory in training.*lower train.per_device_train_batch_size"):
        train.run(params.train, params.problems)


def test_processes_that_do_not_divide_a_step_are_refused(tmp_path, monkeypatch):
    from relex.stages.train.config import configuration

    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    settings = load(tmp_path / "params.yaml").train
    with pytest.raises(InputError, match="do not divide among the processes"):
        configuration(settings, processes=3, cuda=False, longest=7)
    vllm = settings.model_copy(update={"generation": settings.generation.model_copy(update={"backend": "vllm"})})
    with pytest.raises(InputError, match="needs a GPU"):
        configuration(vllm, processes=1, cuda=False, longest=7)
    made = configuration(vllm, processes=1, cuda=True, longest=7) if torch.cuda.is_available() else None
    assert made is None or (made.use_vllm and made.vllm_mode == "colocate")


def test_an_engine_for_rollouts_needs_room_for_the_longest_text_there_is_not_for_the_base_s_context():
    from relex.stages.train.config import configuration

    made = configuration(load(ROOT / "params.yaml").train, processes=1, cuda=False, longest=7)
    assert made.vllm_max_model_length == 7 + 12


def test_the_configuration_is_there_before_the_weights_are_loaded(tmp_path, monkeypatch):
    """accelerate spreads them over ZeRO-3's processes only then."""
    params = prepare(tmp_path, SMALL)
    monkeypatch.chdir(tmp_path)
    made, configuration = [], train_process.configuration
    monkeypatch.setattr(train_process, "configuration", lambda *a, **k: made.append(1) or configuration(*a, **k))

    def load_weights(*_, **__):
        assert made
        raise KeyboardInterrupt

    monkeypatch.setattr(train_process.AutoModelForCausalLM, "from_pretrained", load_weights)
    trained_on, _ = train.split(params.train)
    with pytest.raises(KeyboardInterrupt):
        train_process.make_trainer(params.train, params.problems, trained_on, 1)


def test_more_held_out_prompts_than_problems_are_refused(tmp_path, monkeypatch):
    params = prepare(tmp_path, {**SMALL, "train.completions": {"prompts": 58, "samples": 2}})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="too few problems to train on"):
        train.run(params.train, params.problems)


def test_a_launched_process_knows_that_it_is_one(monkeypatch):
    assert not is_launched()
    monkeypatch.setenv("RELEX_TRAINING_PROCESS", "1")
    assert is_launched()


@pytest.mark.parametrize(("text", "said"), [("nonsense: 1\n", "not an accelerate configuration"), (None, "missing")])
def test_a_configuration_that_accelerate_does_not_know_is_refused(tmp_path, text, said):
    section = load(ROOT / "params.yaml").train
    path = tmp_path / "some.yaml"
    if text is not None:
        path.write_text((ROOT / "infra/profiles/accelerate/ddp-cpu.yaml").read_text() + text)
    with pytest.raises(InputError, match=said):
        launch(section.model_copy(update={"accelerate": str(path)}), Topology())


def test_a_run_without_steps_left_only_finishes_what_is_missing(tmp_path, monkeypatch):
    """Killed after the last step but before the completions were written."""
    params = prepare(tmp_path, SMALL)
    monkeypatch.chdir(tmp_path)

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train.drawn, "keep_completions", killed)
        with pytest.raises(KeyboardInterrupt):
            train.run(params.train, params.problems)
    before = Trajectory(Path("trajectory")).sha256
    assert (train_state.path(6) / "complete.json").is_file()
    written = Path("trajectory/steps/000006.safetensors").stat().st_mtime_ns
    train.run(params.train, params.problems)
    assert Trajectory(Path("trajectory")).sha256 == before
    assert Path("trajectory/steps/000006.safetensors").stat().st_mtime_ns == written
    assert json.loads(Path("metrics/train.json").read_text())["steps"] == 6
