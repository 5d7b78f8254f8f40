"""`reproducible: true`: what torch is told in a real training, what other processes are handed, and that a night
without it stays what it is. What it does on CUDA nothing here can show."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from relex.core.errors import StageFailed
from relex.core.reproducible import promise
from relex.core.topology import Gpu, Topology
from relex.params.load import load
from relex.stages.train import process as train_process
from relex.stages.train import stage as train
from relex.stages.train import state as train_state
from relex.stages.train.capture import Capture
from relex.stages.train.launch import in_order
from relex.trajectory.reader import Trajectory
from tests.builders.project import ROOT, SMALL
from tests.stages.train.test_train_killed import prepare

MACHINES = {
    build: Topology((Gpu("H100", 80 << 30, "0"),) if build == "cuda" else (), build) for build in ("cuda", "cpu")
}


def settings() -> tuple[bool, bool, bool, str | None]:
    backends = torch.backends
    workspace = os.environ.get("CUBLAS_WORKSPACE_CONFIG")
    return (
        torch.are_deterministic_algorithms_enabled(),
        backends.cudnn.benchmark,
        backends.cuda.cudnn_sdp_enabled(),
        workspace,
    )


@pytest.mark.real
def test_a_training_computes_in_a_fixed_order_and_refuses_an_operation_that_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    short = {"train.budget.steps": 2, "train.window": {"first": 1, "last": 2, "every": 1}}
    params = prepare(tmp_path, {**SMALL, **short, "train.reproducible": True, "extrapolate.targets": [12]})
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before, seen = settings(), []
    observed, loss = Capture.on_step_end, train_process.Trainer.compute_loss

    def watched(self, *args, **kwargs):
        seen.append(settings())
        observed(self, *args, **kwargs)

    def unordered(self, *args, **kwargs):
        torch.zeros(2).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))  # which of the two stays is left open
        return loss(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(train_process.Trainer, "compute_loss", unordered)
        with pytest.raises(StageFailed, match=r"train.reproducible is true, but put_ does not have a deterministic"):
            train.run(params.train, params.problems)
    assert settings() == before
    monkeypatch.setattr(Capture, "on_step_end", watched)
    train.run(params.train, params.problems)
    assert seen == [(True, False, False, ":4096:8")] * 2
    assert settings() == before
    assert "VLLM_BATCH_INVARIANT is not set" in capsys.readouterr().out
    assert json.loads(Path("trajectory/manifest.json").read_text())["identity"]["train"]["reproducible"] is True
    assert Trajectory(Path("trajectory")).steps == (1, 2)
    usual = params.train.model_copy(update={"reproducible": False})
    assert "reproducible" not in train_state.identity(usual, params.problems)["train"]


def test_without_it_no_section_says_anything_of_it() -> None:
    params = load(ROOT / "params.yaml")
    assert "reproducible" not in params.train.model_dump(mode="json")
    assert "reproducible" not in params.evaluate.model_dump(mode="json")


@pytest.mark.parametrize(
    ("generation", "build", "invariant"),
    [
        ({"backend": "vllm", "mode": "colocate"}, "cuda", True),
        ({"backend": "vllm", "mode": "colocate"}, "cpu", False),
        ({"backend": "vllm", "mode": "server", "server_url": "http://localhost"}, "cuda", False),
        ({"backend": "transformers"}, "cuda", False),
    ],
)
def test_training_processes_are_handed_what_cuda_and_vllm_read_at_their_start(
    generation: dict, build: str, invariant: bool
) -> None:
    usual = load(ROOT / "params.yaml").train
    section = usual.model_validate(usual.model_dump(mode="python") | {"generation": generation, "reproducible": True})
    handed = in_order(section, MACHINES[build])
    assert handed.pop("CUBLAS_WORKSPACE_CONFIG") == ":4096:8"
    assert handed == ({"VLLM_BATCH_INVARIANT": "1"} if invariant else {})
    assert in_order(section.model_copy(update={"reproducible": False}), MACHINES[build]) == {}


def test_what_it_cannot_promise_is_said() -> None:
    assert "no batch-invariant kernels" in promise(MACHINES["cpu"])
    said = promise(MACHINES["cuda"])
    assert "batch-invariant" in said
    for limit in ("not on another kind", "number of processes", "vLLM server"):
        assert limit in said
