"""What the report refuses: files that are missing, broken, or of different nights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from relex.core.errors import InputError, InputErrors
from relex.stages.report.read import read_night, read_steps
from tests.builders.report_nights import change, run_report, write_night

FILES = ("base.json", "train.json", "train_steps.csv", "diagnose.json", "evaluate.json", "decision.json")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return write_night(tmp_path_factory.mktemp("night"), {"base": 0.3, "observed": 0.4, "step_000020": 0.7})


@pytest.fixture
def night(whole, tmp_path, monkeypatch) -> Path:
    folder = shutil.copytree(whole, tmp_path / "night")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named_and_no_page_is_written(night, name):
    (night / "metrics" / name).unlink()
    with pytest.raises(InputError, match=rf"metrics/{name}: the file is missing"):
        run_report()
    assert not (night / "report.html").exists()


@pytest.mark.parametrize("name", FILES)
def test_a_broken_file_is_named(night, name):
    (night / "metrics" / name).write_text('{"kind": "embe')
    with pytest.raises(InputError, match=f"metrics/{name}"):
        read_night()


def test_every_fault_is_reported_together(night):
    for name in FILES:
        (night / "metrics" / name).unlink()
    (night / "timings/train.json").write_text('{"seconds": "long"}')
    with pytest.raises(InputErrors) as found:
        read_night()
    assert len(found.value.errors) == len(FILES) + 1
    assert found.value.exit_code == 2


def test_a_missing_key_is_named_with_its_path(night):
    found = json.loads((night / "metrics/evaluate.json").read_text())
    del found["protocol"]["suites"]["gate"]["samples"]
    change(night / "metrics/evaluate.json", **found)
    with pytest.raises(InputError, match=r"evaluate\.json: protocol\.suites\.gate\.samples.*run the stage"):
        read_night()


def test_numbers_that_are_not_finite_are_refused(night):
    change(night / "metrics/train.json", share_truncated=float("nan"))
    with pytest.raises(InputError, match=r"train\.json: share_truncated"):
        read_night()


@pytest.mark.parametrize("row", ["4,nan", "4,inf", "4,", "four,0.3", "4"])
def test_a_reward_that_is_no_number_is_refused(night, row):
    with (night / "metrics/train_steps.csv").open("a") as steps:
        steps.write(row + "\n")
    with pytest.raises(InputError, match=r"train_steps\.csv: not a table of steps"):
        read_night()


def test_a_table_without_rows_is_refused(tmp_path):
    (tmp_path / "steps.csv").write_text("step,reward\n")
    with pytest.raises(InputError, match="at least one step"):
        read_steps(tmp_path / "steps.csv")


def test_rewards_come_in_the_order_of_their_steps(tmp_path):
    (tmp_path / "steps.csv").write_text("step,reward,other\n2,0.5,x\n1,0.25,y\n")
    assert [(row.step, row.reward) for row in read_steps(tmp_path / "steps.csv")] == [(1, 0.25), (2, 0.5)]


def test_a_step_keeps_what_its_row_says_of_its_answers(tmp_path):
    head = "step,reward,share_without_signal,completion_length,share_truncated"
    (tmp_path / "steps.csv").write_text(f"{head}\n1,0.25,0.5,6.25,0.125\n2,0.5,,,\n")
    first, second = read_steps(tmp_path / "steps.csv")
    assert (first.without_signal, first.length, first.cut) == (0.5, 6.25, 0.125)
    assert (second.without_signal, second.length, second.cut) == (None, None, None)


def test_a_decision_of_another_evaluation_is_refused(night):
    change(night / "metrics/decision.json", winner_model_sha256="0" * 64)
    with pytest.raises(InputError, match="models that this evaluation does not hold.*step_000020 as model 0000"):
        read_night()


def test_a_winner_that_was_not_evaluated_is_refused(night):
    change(night / "metrics/decision.json", winner="step_000099")
    with pytest.raises(InputError, match="found step_000099; run `relex decide` again"):
        read_night()


def test_coefficients_that_do_not_match_the_window_are_refused(night):
    found = json.loads((night / "metrics/diagnose.json").read_text())
    found["coefficients"][0]["observed"].pop()
    change(night / "metrics/diagnose.json", **found)
    with pytest.raises(InputError, match="9 for 10 steps"):
        read_night()


def test_cosines_that_do_not_match_their_gaps_are_refused(night):
    found = json.loads((night / "metrics/diagnose.json").read_text())
    found["persistence"]["cosine"].pop()
    change(night / "metrics/diagnose.json", **found)
    with pytest.raises(InputError, match="gaps and cosine must be of the same length"):
        read_night()


def test_stages_stand_in_the_order_of_the_graph_and_unknown_ones_after_them(night):
    (night / "timings/another.json").write_text('{"seconds": 1}')
    assert list(read_night().timings) == ["train", "extrapolate", "evaluate", "another"]
