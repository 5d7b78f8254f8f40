"""The study's page says what the nights' rows say, and its nights are the committed ones with another seed."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.study.night import reported_whole, seeded, write_params
from flows.study.rows import load_shares, paired_gain
from flows.study.seeds_tables import page
from relex.core.errors import InputErrors
from relex.params.load import load
from relex.params.proof_ahead import racers_of
from relex.stages.evaluate.planned import expected_rooms, largest, planned
from tests.builders.project import ROOT

pytestmark = pytest.mark.real


def night(promote: bool) -> dict:
    right = {"base": [2] * 40, "observed": [3, 4] * 20, "step_000090": [6, 7] * 20}
    metric = {
        name: {"avg_at_8": {"value": sum(counts) / 320, "low": 0.1, "high": 0.9}} for name, counts in right.items()
    }
    return {
        "name": "seed-0",
        "train": {"steps": 45, "reward_first": 0.3, "reward_last": 0.4, "completions": 1000},
        "diagnosis": {
            "says": "The line forecasts well.",
            "scan": {"suggested": 100, "peaks": {"right": {"low": 80, "high": 120}}},
        },
        "evaluation": {
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
            "spent": {"race": 300, "gate": 150, "guards": 50},
        },
        "shares": {name: {f"p{i}": count / 8 for i, count in enumerate(counts)} for name, counts in right.items()},
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
    assert "| seed-0 | keep-champion | - | 0.438 | - | - | 500 | 0.50 |" in text


def test_what_the_proof_took_stands_on_the_page_and_in_the_mean_of_the_nights():
    dearer = night(False)
    dearer["decision"]["spent"] = {"race": 1300, "gate": 150, "guards": 50}
    text = page([night(True), dearer], 0, "the command")
    assert "300 rows of the race, 150 of the gate and 50 of the guards" in text
    assert "Race, gate and guards took 1,000 rows a night on average" in text


def rows(path: Path, scores: dict[str, list[float]], suite: str = "test") -> None:
    table = [
        {"suite": name, "problem": problem, "score": score}
        for name in ("choose", suite)
        for problem, values in scores.items()
        for score in values
    ]
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(table), path)


def test_a_gain_is_paired_over_the_problems_that_both_models_were_asked_whatever_their_samples(tmp_path):
    rows(tmp_path / "rows/observed.parquet", {"a": [0.0, 1.0], "b": [0.0, 0.0], "c": [1.0, 1.0]})
    rows(tmp_path / "rows/step_000090.parquet", {"a": [1.0], "b": [0.0]})
    rows(tmp_path / "rows/step_000180.parquet", {"a": [1.0]}, suite="gate")
    shares = load_shares(tmp_path / "rows", "test")
    assert shares == {"observed": {"a": 0.5, "b": 0.0, "c": 1.0}, "step_000090": {"a": 1.0, "b": 0.0}}
    gain = paired_gain(shares, "step_000090", "observed")
    assert (gain.value, gain.low, gain.high) == (0.25, 0.0, 0.5)


def test_true_training_is_shown_beside_the_forecasts():
    found = night(True)
    found["true"] = {"metrics": {"observed": found["evaluation"]["metrics"]["observed"]}}
    assert "| true RLVR | 300 | 0.438" in page([found], 300, "the command")


def test_a_seeded_night_differs_from_the_committed_one_in_its_seeds_only(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    write_params(tmp_path / "params.yaml", seeded(5))
    ours, committed = load(tmp_path / "params.yaml").model_dump(), load(ROOT / "params.yaml").model_dump()
    assert ours["base"]["source"].pop("seed") == 5
    assert committed["base"]["source"].pop("seed") == 0
    for section in ("problems", "train", "evaluate"):
        assert ours[section].pop("seed") == 5
        committed[section].pop("seed")
    assert ours == committed


def test_a_study_reports_every_model_under_a_budget_that_holds_all_its_rows(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    write_params(tmp_path / "params.yaml", reported_whole(range(5)))
    ours = load(tmp_path / "params.yaml")
    assert ours.evaluate.report == "all"
    rooms = expected_rooms(ours.evaluate, ours.problems.sizes.model_dump())
    plan = planned(ours.evaluate, rooms, racers_of(ours.extrapolate), champion=True, rows=ours.evaluate.budget.rows)
    assert plan == largest(ours.evaluate)


def test_a_night_of_the_study_with_impossible_parameters_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(InputErrors, match="inside the window"):
        write_params(tmp_path / "params.yaml", {"extrapolate.targets": [10]})
