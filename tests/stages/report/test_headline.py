"""The night in a dozen numbers, and its race as a table."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.builders.report_nights import change, run_report, write_night
from tests.graph import GRAPH

PROMOTES = {"base": 0.30, "observed": 0.36, "step_000020": 0.55, "step_000040": 0.80}
KEEPS = {"base": 0.30, "observed": 0.36, "champion": 0.85, "step_000020": 0.55, "step_000040": 0.60}


def read(name: str) -> dict:
    return json.loads(Path("metrics", name).read_text())


@pytest.fixture(params=[PROMOTES, KEEPS], ids=["promotes", "keeps"])
def night(request, tmp_path, monkeypatch) -> Path:
    folder = write_night(tmp_path / "night", request.param)
    change(folder / "metrics/train.json", reward_first=0.25, reward_last=0.375, explained_share=0.99, skill=0.7)
    monkeypatch.chdir(folder)
    run_report()
    return folder


def test_the_headline_says_what_the_other_files_say(night):
    found, decision, evaluation = read("headline.json"), read("decision.json"), read("evaluate.json")
    assert found["promoted"] == decision["promote"]
    assert found["step"] == 40
    least = min((test for test in decision["tests"] if test["model"] == "step_000040"), key=lambda test: test["gain"])
    assert (found["gain"], found["gain_low"]) == pytest.approx((least["gain"], least["low"]))
    for suite in ("test", "ood"):
        assert found[suite] == evaluation["metrics"][decision["winner"]][suite]["avg_at_4"]["value"]
        assert found[f"{suite}_last"] == evaluation["metrics"]["observed"][suite]["avg_at_4"]["value"]
    assert found["rows"] == sum(part["rows"] for part in evaluation["proof"]["spent"].values())
    assert found["reward_gain"] == pytest.approx(0.125)
    assert (found["steps"], found["reward"], found["explained"], found["skill"]) == (10, 0.375, 0.99, 0.7)


def test_it_is_a_dozen_numbers_and_no_more(night):
    found = read("headline.json")
    assert len(found) <= 14
    assert all(isinstance(value, float) and len(name) <= 11 for name, value in found.items())


def test_the_race_is_a_table_by_step_with_all_that_it_asked(night):
    with open("metrics/race.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["step"] for row in rows] == ["10", "20", "40"]
    for row, name in zip(rows, ("observed", "step_000020", "step_000040"), strict=True):
        asked = read("evaluate.json")["metrics"][name]["choose"]
        assert (int(row["problems"]), int(row["samples"])) == (asked["problems"], asked["samples"])
        (share,) = (cell for metric, cell in asked.items() if metric.startswith("avg_at_"))
        assert [float(row[key]) for key in ("right", "low", "high")] == [share[key] for key in ("value", "low", "high")]


def test_a_night_without_a_gate_a_champion_and_a_report_has_a_headline(tmp_path, monkeypatch):
    folder = write_night(tmp_path / "night", {"base": 0.3, "observed": 0.3}, sizes={"choose": 40, "gate": 40})
    change(folder / "metrics/decision.json", verdicts=[], winner=None, promote=False, outcome="keep-champion")
    monkeypatch.chdir(folder)
    run_report()
    assert read("headline.json").keys() == {"promoted", "rows", "steps"}


def test_the_headline_is_the_graphs_only_metric():
    metrics = [name for stage in GRAPH.values() for entry in stage.get("metrics", []) for name in entry]
    assert metrics == ["metrics/headline.json"]
    plots = [name for stage in GRAPH.values() for entry in stage.get("plots", []) for name in entry]
    assert plots == ["metrics/train_steps.csv", "timings/train_steps.csv", "metrics/race.csv"]
