"""The campaigns' page: when true RLVR has what a hop has, and nothing claimed that was not reached."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from prefect.logging import disable_run_logger

from flows.study import campaign as study_campaign
from flows.study.campaign_tables import Campaign, page, picture, seconds_of
from flows.study.night import seeded, write_params
from relex.core.errors import InputError
from relex.ledger import true_rlvr
from relex.ledger.task import task_of
from relex.ledger.true_rlvr import Point
from relex.params.load import Params, load
from tests.builders import ROOT
from tests.builders.curves import points as curve


def line(kind: str, night: int, hop: int, steps: int, right: float, *, accepted: bool = True) -> dict[str, Any]:
    spent = {"steps": 12, "rollouts": 3072, "rows": {"race": 500, "report": 9000}}
    total = {"steps": steps, "rollouts": 256 * steps, "rows": {"race": 500 * steps // 12}}
    total["seconds"] = {"base": 50.0, "train": 10.0 * steps / 12, "evaluate": 40.0 * steps / 12}
    interval = {"value": right, "low": right - 0.02, "high": right + 0.02}
    facts = {"kind": kind, "night": night, "hop": hop, "mode": "reground", "spent": spent, "total": total}
    return facts | {"accepted": accepted, "step": 600, "right": {"test": interval}, "before": {"test": {"value": 0.37}}}


def campaign(seed: int = 0, points: tuple[Point, ...] = ()) -> Campaign:
    rows = [
        line("hop", 1, 1, 12, 0.6),
        line("hop", 1, 2, 24, 0.7),
        line("night", 1, 0, 24, 0.7),
        line("hop", 2, 1, 36, 0.7, accepted=False),
        line("night", 2, 0, 36, 0.7),
    ]
    return Campaign(seed, rows, points, 360)


def test_the_seconds_are_those_of_training_and_of_everything_but_the_base() -> None:
    assert seconds_of(line("hop", 1, 1, 24, 0.5)) == (20.0, 100.0)


def test_the_page_holds_nights_against_true_rlvr_and_says_what_it_never_reached() -> None:
    text = page([campaign(0, curve(0.37, 0.5, 0.8)), campaign(1, curve(0.37, 0.5, 0.6))], "the command")
    assert "    the command" in text
    # .7 of .5 to .8 between steps 90 and 180: step 150, 150 / 24 times fewer; 100 of its 300 seconds.
    assert "| 1 | 0 | 24 | 0.700 [0.680, 0.720] | - | 150 (144 to 156) | 6.2 | 100 | 300 | 33 % |" in text
    assert "not reached by step 360" in text
    assert "more than 15.0" in text
    assert "**mean**" not in text  # one of the two was never reached
    assert "refused" in text
    assert "| 90 | 180 | 0.500 [0.480, 0.520] |" in text


def test_seeds_that_were_all_reached_have_a_mean() -> None:
    text = page([campaign(seed, curve(0.37, 0.5, 0.8)) for seed in (0, 1)], "the command")
    assert "| 1 | **mean** | | | | | **6.2** | | | **33 %** |" in text


def test_without_a_true_run_there_is_no_comparison() -> None:
    text = page([campaign()], "the command")
    assert "true RLVR from the same base" not in text.replace("beside true RLVR", "")
    assert "| 1 | 2 | reground | 12 | 24 | 6,144 | 1,000 | 20 | 100 | step 600 | 0.700 [0.680, 0.720] | - | - |" in text


def test_the_picture_is_the_same_bytes_again(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        picture([campaign(0, curve(0.37, 0.5, 0.8))], tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert b"seed 0: true RLVR" in (tmp_path / "a.svg").read_bytes()


def test_every_campaign_is_a_clone_of_the_checkout_with_its_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    changes = study_campaign._changes(3, {"mode": "continue", "window": 45})
    assert changes["nights.mode"] == "continue"
    assert changes["train.window.last"] == changes["train.budget.steps"] == 45
    assert {value for key, value in changes.items() if key.endswith("seed")} == {3}


def test_a_true_run_that_ends_before_its_first_checkpoint_is_refused() -> None:
    from flows.study.campaign import campaigns

    with pytest.raises(InputError, match=r"--true-steps: .*expected at least --every \(90\); found 50"):
        campaigns.fn({"seeds": [0], "nights": 1, "true_steps": 50, "every": 90}, "the command")


def test_a_clone_whose_maker_was_killed_gets_its_own_seed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    clone = tmp_path / "study/campaign-7"
    clone.mkdir(parents=True)
    shutil.copy(ROOT / "params.yaml", clone / "params.yaml")  # as the clone left it
    options = {"seeds": [7], "nights": 0, "true_steps": 0, "every": 90, "mode": None, "window": None}
    with disable_run_logger():
        study_campaign.campaign(7, options, "the command")
    assert load(clone / "params.yaml").train.seed == 7


def test_a_true_run_is_of_its_campaigns_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    options = {"mode": "fresh", "window": None}
    tasks = {}
    for seed in (0, 3):
        changes = study_campaign._changes(seed, options)
        write_params(tmp_path / "campaign.yaml", changes)
        write_params(tmp_path / "true.yaml", study_campaign._longer(changes, range(90, 2971, 90)))
        assert load(tmp_path / "true.yaml").train.budget.steps == 2970
        found = {task(load(tmp_path / name)) for name in ("campaign.yaml", "true.yaml")}
        (tasks[seed],) = found
    assert tasks[0] == task(load(ROOT / "params.yaml"))
    assert tasks[3] != tasks[0]


def test_true_rlvr_beyond_the_named_targets_is_parameters_that_a_stage_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text((ROOT / "infra/profiles/smollm2-135m.yaml").read_text())
    write_params(tmp_path / "true.yaml", study_campaign._longer({}, range(4, 17, 4)))
    assert load(tmp_path / "true.yaml").train.budget.steps == 16  # 6, 9 and 13 are named for forecasts from step 4
    assert task(load(tmp_path / "true.yaml")) == task(load(tmp_path / "params.yaml"))


def task(params: Params) -> str | None:
    return task_of(params.problems, params.base, params.train, params.evaluate)


def true_run(folder: Path, seed: int, rights: list[float]) -> Path:
    """What a true run leaves that its curve is made of: three steps, the base and each second of them evaluated."""
    (folder / "metrics").mkdir(parents=True, exist_ok=True)
    (folder / "timings").mkdir(exist_ok=True)
    write_params(folder / "params.yaml", seeded(seed))
    kinds = {"base": ("base", 0), "step_000002": ("candidate", 2), "observed": ("observed", 4)}
    kinds["step_000004"] = ("candidate", 4)
    shares = dict(zip(("base", "step_000002", "step_000004"), rights, strict=True)) | {"observed": 0.99}
    cell = {name: {"avg_at_4": {"value": value, "low": 0.0, "high": 1.0}} for name, value in shares.items()}
    facts = {
        "models": {name: {"kind": kind, "step": step} for name, (kind, step) in kinds.items()},
        "metrics": {name: {"test": one, "ood": one} for name, one in cell.items()},
    }
    (folder / "metrics/evaluate.json").write_text(json.dumps(facts))
    (folder / "timings/train_steps.csv").write_text("step,seconds\n1,9.0\n2,2.0\n3,2.0\n4,2.0004\n")
    return folder


def test_the_study_keeps_the_curve_of_its_task_and_those_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    for seed, rights, command in (
        (3, [0.3, 0.4, 0.5], "first"),
        (0, [0.2, 0.3, 0.4], "second"),
        (3, [0.3, 0.5, 0.6], "third"),
    ):
        true_run(tmp_path / f"study/campaign-{seed}-true", seed, rights)
        options = {"seeds": [seed], "nights": 0, "true_steps": 4, "every": 2, "mode": None, "window": None}
        (tmp_path / f"study/campaign-{seed}").mkdir(exist_ok=True)
        shutil.copy("params.yaml", tmp_path / f"study/campaign-{seed}/params.yaml")
        with disable_run_logger():
            study_campaign.campaign(seed, options, command)
    assert [(one.seed, one.command) for one in true_rlvr.read()] == [(0, "second"), (3, "third")]
    found = true_rlvr.of(task(load(tmp_path / "study/campaign-3-true/params.yaml")))
    assert found is not None
    assert [(point.step, point.seconds, point.test.value) for point in found.points] == [
        (0, 0.0, 0.3),
        (2, 11.0, 0.5),
        (4, 15.0, 0.6),
    ]
