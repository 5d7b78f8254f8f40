"""The study's page says what the nights' rows say, and its nights are the committed ones with another seed."""

from __future__ import annotations

import numpy as np
import pytest

from flows.study import _seeded, write_params
from flows.study_tables import page
from relex.core.errors import InputErrors
from relex.params.load import load
from relex.stages.decide.scores import Scores, SuiteScores
from tests.builders.project import ROOT

pytestmark = pytest.mark.real


def suite(right: list[int], role: str = "test") -> SuiteScores:
    counts = np.array(right)
    none = np.zeros_like(counts)
    return SuiteScores(role, tuple(f"p{i}" for i in range(len(right))), 8, counts, none, none)


def night(promote: bool) -> dict:
    right = {"base": [2] * 40, "observed": [3, 4] * 20, "step_000090": [6, 7] * 20}
    metric = {
        name: {"avg_at_8": {"value": sum(counts) / 320, "low": 0.1, "high": 0.9}} for name, counts in right.items()
    }
    return {
        "name": "seed-0",
        "train": {"steps": 45, "reward_first": 0.3, "reward_last": 0.4},
        "diagnosis": {
            "says": "The line forecasts well.",
            "scan": {"suggested": 100, "peaks": {"right": {"low": 80, "high": 120}}},
        },
        "evaluation": {
            "protocol": {"suites": {"test": {"samples": 8}}},
            "models": {
                "base": {"step": 0, "kind": "base"},
                "observed": {"step": 45, "kind": "observed"},
                "step_000090": {"step": 90, "kind": "candidate"},
            },
            "metrics": {name: {"test": value, "ood": value} for name, value in metric.items()},
        },
        "decision": {
            "promote": promote,
            "outcome": "promote-candidate" if promote else "keep-champion",
            "winner": "step_000090" if promote else None,
            "sentence": "A sentence.",
        },
        "scores": Scores({name: {"test": suite(counts), "ood": suite(counts)} for name, counts in right.items()}),
    }


def test_the_gain_of_the_winner_is_the_paired_difference_on_the_same_problems():
    text = page([night(True)], 0, "the command")
    # Every problem gains exactly 3 of 8 samples: the interval has no width.
    assert "+0.375 [+0.375, +0.375]" in text
    assert "the command" in text
    assert "step_000090 **chosen**" in text
    assert "suggests step 100" in text
    assert "the nearest is 90: number 1" in text


def test_a_night_that_promotes_nothing_is_shown_as_such():
    text = page([night(False)], 0, "the command")
    assert "| seed-0 | keep-champion | - | 0.438 | - | - |" in text


def test_true_training_is_shown_beside_the_forecasts():
    found = night(True)
    found["true"] = {"metrics": {"observed": found["evaluation"]["metrics"]["observed"]}}
    assert "| true RLVR | 300 | 0.438" in page([found], 300, "the command")


def test_a_seeded_night_differs_from_the_committed_one_in_its_seeds_only(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    write_params(tmp_path / "params.yaml", _seeded(5))
    ours, committed = load(tmp_path / "params.yaml").model_dump(), load(ROOT / "params.yaml").model_dump()
    assert ours["base"]["source"].pop("seed") == 5
    assert committed["base"]["source"].pop("seed") == 0
    for section in ("problems", "train", "evaluate"):
        assert ours[section].pop("seed") == 5
        committed[section].pop("seed")
    assert ours == committed


def test_a_night_of_the_study_with_impossible_parameters_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(InputErrors, match="inside the window"):
        write_params(tmp_path / "params.yaml", {"extrapolate.targets": [10]})
