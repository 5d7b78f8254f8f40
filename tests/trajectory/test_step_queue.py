"""Captured steps are written behind the training's back, and let go of as soon as they are on disk."""

from __future__ import annotations

import time
import weakref
from pathlib import Path

import torch

from relex.trajectory.reader import Trajectory
from relex.trajectory.step_queue import StepQueue
from relex.trajectory.writer import TrajectoryWriter
from tests.builders.windows import save, tiny_llama


def test_a_step_that_is_on_disk_is_held_no_longer(tmp_path: Path) -> None:
    """At 8 billion parameters one that were kept until the next would be 32 GB."""
    model = tiny_llama()
    base = save(model, tmp_path / "base")
    writer = TrajectoryWriter(tmp_path / "window", base=base, codec="float32", identity={})
    queue = StepQueue(writer)
    for step in (1, 2):
        deltas = {name: torch.full_like(tensor, 1e-3 * step) for name, tensor in model.named_parameters()}
        held = [weakref.ref(tensor) for tensor in deltas.values()]
        queue.put(step, deltas)
        del deltas
        queue.flush()
        until = time.monotonic() + 10
        while any(one() is not None for one in held) and time.monotonic() < until:
            time.sleep(0.001)
        assert [one for one in held if one() is not None] == []
    queue.close()
    assert Trajectory(tmp_path / "window").steps == (1, 2)
