"""The campaigns' page: when true RLVR has what a hop has, and nothing claimed that was not reached."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from prefect.logging import disable_run_logger

from flows.study_campaign_tables import Campaign, page, picture, seconds_of
from relex.core.errors import InputError
from relex.ledger.lines import Right
from relex.ledger.true_rlvr import Point
from relex.params.load import load
from tests.builders import ROOT


def curve(*values: float) -> tuple[Point, ...]:
    """True RLVR, evaluated every 90 steps of two seconds each, the base first."""
    return tuple(
        Point(step=90 * at, seconds=180.0 * at, test=_near(value), ood=Right(value=0.3, low=0.2, high=0.4))
        for at, value in enumerate(values)
    )


def _near(value: float) -> Right:
    return Right(value=value, low=max(value - 0.02, 0.0), high=min(value + 0.02, 1.0))


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
    from flows.study_campaign import _changes

    monkeypatch.chdir(ROOT)
    changes = _changes(3, {"mode": "continue", "window": 45})
    assert changes["nights.mode"] == "continue"
    assert changes["train.window.last"] == changes["train.budget.steps"] == 45
    assert {value for key, value in changes.items() if key.endswith("seed")} == {3}


def test_a_true_run_that_ends_before_its_first_checkpoint_is_refused() -> None:
    from flows.study_campaign import campaigns

    with pytest.raises(InputError, match=r"--true-steps: .*expected at least --every \(90\); found 50"):
        campaigns.fn({"seeds": [0], "nights": 1, "true_steps": 50, "every": 90}, "the command")


def test_a_clone_whose_maker_was_killed_gets_its_own_seed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import study_campaign

    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    clone = tmp_path / "study/campaign-7"
    clone.mkdir(parents=True)
    shutil.copy(ROOT / "params.yaml", clone / "params.yaml")  # as the clone left it
    options = {"seeds": [7], "nights": 0, "true_steps": 0, "every": 90, "mode": None, "window": None}
    with disable_run_logger():
        study_campaign._campaign(7, options, "the command")
    assert load(clone / "params.yaml").train.seed == 7
