"""A base that imported checkpoints cannot have started from: real small trainings, from their base and from another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel, get_scheduler

from relex.stages.diagnose.stage import DEFAULTS, diagnosis
from relex.window.importing import import_checkpoints
from relex.window.request import Request
from relex.window.started_from import other_base
from tests.builders.windows import save, tiny_llama

TRAININGS: dict[str, dict[str, Any]] = {
    "Adam from its first step on": {"steps": (1, 2, 3, 4)},
    "Adam, a first step alone": {"steps": (1, 40)},
    "a warm-up": {"steps": (5, 10, 40), "warmup": 10},
    "a schedule that ends at zero": {"steps": (10, 35, 39), "schedule": "linear"},
    "SGD": {"steps": (10, 20, 40), "optimiser": torch.optim.SGD, "rate": 0.01},
}


def trained(
    folder: Path,
    steps: tuple[int, ...],
    *,
    warmup: int = 0,
    schedule: str = "constant_with_warmup",
    optimiser: Any = torch.optim.AdamW,
    rate: float = 1e-4,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """base/ and run/checkpoint-N of a training on next tokens of noise, where nothing but noise drives it."""
    model: PreTrainedModel = tiny_llama().train()
    save(model, folder / "base", dtype=dtype)
    model.float()
    made = optimiser(model.parameters(), lr=rate)
    schedules = get_scheduler(schedule, made, num_warmup_steps=warmup, num_training_steps=40)
    generator = torch.Generator().manual_seed(0)
    for step in range(1, 41):
        tokens = torch.randint(0, 48, (4, 16), generator=generator)
        model(input_ids=tokens, labels=tokens).loss.backward()
        made.step()
        schedules.step()
        made.zero_grad()
        if step in steps:
            kept = {name: value.clone() for name, value in model.state_dict().items()}
            save(model, folder / f"run/checkpoint-{step}", dtype=dtype)
            model.float().load_state_dict(kept)
    return folder


@pytest.mark.parametrize("training", list(TRAININGS))
@pytest.mark.parametrize("copy", [False, True])
def test_the_base_of_a_run_is_taken_in_silence_and_another_with_a_warning(tmp_path, training, copy):
    trained(tmp_path, **TRAININGS[training])
    assert "WARNING" not in import_checkpoints(tmp_path / "run", tmp_path / "base", tmp_path / "right", copy=copy)
    other = save(tiny_llama(seed=1), tmp_path / "other")
    said = import_checkpoints(tmp_path / "run", other, tmp_path / "wrong", copy=copy)
    assert f"times as far from {other}" in said
    assert "is that the model that the run started from?" in said


def test_bfloat16_checkpoints_of_the_base_are_taken_in_silence(tmp_path):
    trained(tmp_path, (10, 20, 40), dtype=torch.bfloat16)
    assert "WARNING" not in import_checkpoints(tmp_path / "run", tmp_path / "base", tmp_path / "right")


def test_the_diagnosis_says_it_too(tmp_path):
    trained(tmp_path, (10, 20, 30, 40))
    for name, base in (("right", tmp_path / "base"), ("wrong", save(tiny_llama(seed=1), tmp_path / "other"))):
        import_checkpoints(tmp_path / "run", base, tmp_path / name)
        found = diagnosis(tmp_path / name, base, None, DEFAULTS, Request(targets=()))
        assert ("started from?" in found["says"]) == (name == "wrong")


def test_weights_that_stand_still_later_say_nothing_of_the_base(tmp_path):
    for step in (1, 2, 3):
        save(tiny_llama(), tmp_path / f"run/checkpoint-{step}")
    base = save(tiny_llama(seed=1), tmp_path / "base")
    assert "WARNING" not in import_checkpoints(tmp_path / "run", base, tmp_path / "window")


@pytest.mark.parametrize(
    ("named", "base", "same"),
    [
        ("", "qwen3", True),
        ("Qwen/Qwen3-0.6B", "Qwen3-0.6B", True),
        ("/elsewhere/Qwen3-0.6B", "qwen3-0.6b", True),
        ("Qwen/Qwen3-0.6B", "models--Qwen--Qwen3-0.6B/snapshots/0123", True),
        ("Qwen/Qwen3-0.6B-Base", "Qwen3-0.6B", False),
        ("meta/llama", "qwen3", False),
    ],
)
def test_an_adapter_that_names_another_base_is_noted(tmp_path, named, base, same):
    settings = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "base_model_name_or_path": named}
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings))
    said = other_base(tmp_path, tmp_path / base)
    assert (said is None) == same
    if said:
        assert f"names the base {named!r}" in said
        assert f"--base {tmp_path / base} is used" in said
