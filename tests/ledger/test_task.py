"""What makes trainings comparable: other settings of what is learned, or of what is asked, are another task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from relex.ledger.task import NOT_OF_A_TASK, task_of
from relex.params.load import load
from relex.stages.train.params import Train
from tests.builders import ROOT


def task(folder: Path, **changes: Any) -> str | None:
    """Of the committed parameters with changes: section__key=value."""
    yaml = YAML()
    document = yaml.load((ROOT / "params.yaml").read_text())
    for key, value in changes.items():
        *parents, last = key.split("__")
        section = document
        for parent in parents:
            section = section[int(parent) if parent.isdigit() else parent]
        section[last] = value
    path = folder / "params.yaml"
    with open(path, "w") as handle:
        yaml.dump(document, handle)
    params = load(path)
    return task_of(params.problems, params.base, params.train, params.evaluate)


@pytest.mark.parametrize(
    "changes",
    [
        {"train__budget": {"steps": 2970, "minutes": 900.0}, "train__window": {"first": 90, "last": 2970, "every": 90}},
        {"train__threads": 4, "train__codec": "float32", "train__state_every": 7},
        {"train__stop_when": {"skill": 0.8, "steps": 5}, "train__completions": {"prompts": 9, "samples": 2}},
        {"train__generation": {"backend": "vllm"}, "train__reproducible": True},
        {"train__lr_scheduler_type": "constant_with_warmup", "evaluate__suites__1__samples": 9},  # a default, written
        {"evaluate__suites__0__limit": 100, "evaluate__samples": 8, "evaluate__seed": 3, "evaluate__engines": 1},
        {"evaluate__suites__1__temperature": 1.0},  # as the section has it
        {"nights__mode": "fresh", "decide__alpha": 0.01, "extrapolate__rank": 2},
    ],
    ids=lambda changes: ", ".join(changes),
)
def test_how_long_how_observed_and_how_proven_is_no_other_task(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert task(tmp_path, **changes) == task(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"train__learning_rate": 2e-5},
        {"train__seed": 1},
        {"train__num_generations": 16},
        {"train__lora": {"r": 16, "alpha": 32}},
        {"problems__seed": 1},
        {"problems__source__lengths": [5, 7]},
        {"problems__sizes__train": 4001},
        {"base__source__seed": 1},
        {"base__source__pretraining__steps": 501},
        {"base__source": {"kind": "folder", "path": "theirs"}},
        {"evaluate__temperature": 0.7},
        {"evaluate__max_tokens": 11},
        {"evaluate__suites__1__limit": 100},
        {"evaluate__suites__2__top_p": 0.9},
        {"evaluate__suites__2__source__split": "test"},
    ],
    ids=lambda changes: ", ".join(changes),
)
def test_what_is_learned_from_what_and_asked_how_is(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert task(tmp_path, **changes) not in (None, task(tmp_path))


def test_a_training_of_another_trainer_is_of_no_known_task(tmp_path: Path) -> None:
    section = {"kind": "import", "run": "run", "seed": 0, "temperature": 1.0, "max_completion_length": 12}
    assert task(tmp_path, train=section | {"completions": {"prompts": 2, "samples": 1}}) is None


def test_what_is_left_out_are_keys_of_the_section() -> None:
    assert set(Train.model_fields) >= NOT_OF_A_TASK
