"""The learning rate within the window: as transformers has it, and warned of where it fades."""

from __future__ import annotations

import pytest
import torch
from transformers import get_scheduler

from relex.params.load import load
from relex.stages.train.params import Train
from relex.stages.train.schedule import fading, rate_at
from tests.builders import ROOT


def section(kind: str, steps: int, last: int, warmup: int = 2) -> Train:
    train = load(ROOT / "params.yaml").train
    changes = {
        "lr_scheduler_type": kind,
        "warmup_steps": warmup,
        "budget": {"steps": steps},
        "window": {"first": 1, "last": last, "every": 1},
    }
    return Train.model_validate(train.model_dump() | changes)


@pytest.mark.parametrize("kind", ["constant_with_warmup", "linear", "cosine"])
def test_the_rate_is_that_of_transformers(kind):
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = get_scheduler(kind, optimiser, num_warmup_steps=2, num_training_steps=12)
    train, rates = section(kind, 12, 12), []
    for _ in range(12):
        rates.append(schedule.get_last_lr()[0])
        optimiser.step()
        schedule.step()
    assert [rate_at(train, step) for step in range(1, 13)] == pytest.approx(rates)


def test_a_rate_that_fades_within_the_window_is_warned_of():
    said = fading(section("linear", 12, 12))
    assert "lr_scheduler_type linear lets the rate fall to 10% of train.learning_rate at step 12" in said
    assert "constant_with_warmup" in said
    assert "cosine" in fading(section("cosine", 12, 12))
    assert fading(section("linear", 500, 45)) is None
    assert fading(section("constant_with_warmup", 12, 12)) is None
