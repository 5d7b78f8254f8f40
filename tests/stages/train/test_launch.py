"""Which processes train: one that sees a single GPU where several are visible; the GPUs are played."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from relex.core.topology import Gpu, Topology
from relex.stages.train import launch as launching
from relex.stages.train import stage as train
from relex.trajectory.reader import Trajectory
from tests.builders.project import ROOT, SMALL
from tests.stages.train.test_train_killed import prepare

TWO = Topology(gpus=tuple(Gpu("H100", 80 << 30, name) for name in ("GPU-b", "GPU-a")))


@pytest.mark.real
def test_with_several_gpus_in_sight_one_process_of_its_own_sees_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    params = prepare(tmp_path, SMALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(train, "topology", lambda: TWO)
    seen = []
    run = launching.subprocess.run

    def watched(command: list[str], **more: Any) -> object:
        if "relex.cli" in command:  # not what asks for the processor's name
            seen.append(more["env"]["CUDA_VISIBLE_DEVICES"])
        return run(command, **more)

    monkeypatch.setattr(launching.subprocess, "run", watched)
    train.run(params.train, params.problems)
    assert seen == ["GPU-b"]
    assert "on GPU GPU-b (H100), one of 2 that are visible" in capfd.readouterr().out
    assert Trajectory(tmp_path / "trajectory").steps == (1, 2, 3, 4, 5, 6)
