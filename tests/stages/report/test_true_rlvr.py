"""True RLVR beside the campaign: drawn where the study has measured it for the task, and said what was saved."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest

from relex.core import hop as hops
from relex.core.atomic import read_json, write_json
from relex.core.errors import CorruptArtifact
from relex.core.hop import Hop, Training
from relex.core.workspace import REPORT, TRUE_RLVR
from relex.ledger import lines, true_rlvr
from relex.ledger.lines import Right, Spent
from relex.ledger.task import task_of
from relex.ledger.true_rlvr import Curve
from relex.params.load import load
from relex.stages.report.beside import Beside, read_beside
from relex.stages.report.campaign import Campaign, Line
from relex.stages.report.data import Proven
from relex.stages.report.read import read_night
from relex.stages.report.saved import saved
from relex.stages.report.stage import page
from tests.builders import ROOT
from tests.builders.curves import curve, near
from tests.builders.report_nights import run_report
from tests.nights.rows import SPENT, hop_row, model
from tests.stages.report.test_campaign import made  # noqa: F401  a fixture
from tests.stages.report.test_campaign import night as a_hop  # noqa: F401  a fixture

PARAMS = load(ROOT / "params.yaml")
TASK = task_of(PARAMS.problems, PARAMS.base, PARAMS.train, PARAMS.evaluate) or ""


@pytest.fixture
def night(a_hop: Path) -> Path:  # noqa: F811
    """A second hop: ten steps in 25 s and 130.25 s of proof and forecasts, after twelve steps in 60 s."""
    spent = SPENT.model_copy(update={"seconds": {**SPENT.seconds, "base": 5000.0}})
    before = {suite: near(0.3) for suite in ("test", "ood")}
    lines.append(hop_row(Hop(), accepted=True, champion=model(1), spent=spent, total=spent, before=before))
    place = {"night": 2, "start": model(1), "mode": "reground", "training": Training(before=12)}
    hops.write(hops.read().model_copy(update=place))
    return a_hop


def right() -> float:
    """The share of test of the model that the night promotes."""
    return read_json(Path("metrics/evaluate.json"))["metrics"]["step_000040"]["test"]["avg_at_4"]["value"]


def of_page() -> str:
    run_report()
    return REPORT.read_text()


def said(html: str) -> str:
    seen = re.sub(r"<[^>]+>", " ", re.sub(r"<(style|script|svg)\b.*?</\1>", "", html, flags=re.DOTALL))
    text = " ".join(unescape(seen).split())
    return text[text.index("The campaign, hop by hop") : text.index("Accuracy against horizon")]


def chart(html: str, width: str = "wide") -> str:
    (found,) = re.findall(rf"<svg(?:(?!<svg).)*campaign-{width}-.*?</svg>", html, re.DOTALL)
    return found


def dashed(chart: str) -> list[str]:
    return re.findall(r'<path d="M[^"]*"[^>]*stroke-dasharray: 7[^>]*stroke: var\(--(s\d)\)', chart)


def test_a_page_says_when_true_rlvr_has_as_much_and_what_was_saved(night: Path) -> None:
    share = right()
    # A straight line from 0 to twice the share: there in the middle, step 45 times 20.
    steps = curve(TASK, 0.0, share / 2, *([share / 2 + 0.001] * 8), share, seconds=180.0)
    true_rlvr.add(steps)
    text = said(of_page())
    shown = f"{share:.3f}".replace("0.", ".")
    assert "40.9 times fewer steps than true RLVR, and 12 % of its seconds: " in text  # 900 / 22, 215.25 s / 1800 s
    assert (
        f"{shown} of test right took 22 trained steps and 3 min 35 s of all stages, proof included; "
        "true RLVR first has as much at step 900, after 30 min 0 s of training." in text
    )
    assert "measured once ( python -m study )" in text
    assert "Nothing was saved" not in text


def test_a_curve_is_a_dashed_line_of_each_suites_colour_in_both_panels(night: Path) -> None:
    without = of_page()
    true_rlvr.add(curve(TASK, 0.3, 0.5, 0.6, 0.9))
    html = of_page()
    for width in ("wide", "narrow"):
        assert dashed(chart(without, width)) == []
        assert sorted(dashed(chart(html, width))) == ["s1", "s1", "s1", "s2", "s2", "s2"]  # with the legend's
        assert "true RLVR, test" in chart(html, width)
        assert "true RLVR, ood" in chart(html, width)
        assert "true RLVR" not in chart(without, width)
        assert "minutes of training and proof, from the base on" in chart(html, width)


@pytest.mark.parametrize(("every", "logarithmic"), [(50, False), (60, True), (6000, True)])
def test_a_curve_that_is_far_longer_leaves_the_hops_their_room(night: Path, every: int, logarithmic: bool) -> None:
    true_rlvr.add(curve(TASK, 0.3, 0.9, every=every))
    found = chart(of_page())
    assert ("trained steps (logarithmic)" in found) == logarithmic
    # The first panel is half as wide as the chart: of it the hops, 22 steps, take more than a fifth.
    ends = [float(x) for x in re.findall(r'<path d="M ([\d.]+) [^"]*"[^>]*stroke-dasharray: 1\.8', found)]
    starts = [float(x) for x in re.findall(r'<path d="M ([\d.]+) [\d.]+\nL [^"]*"[^>]*stroke: var\(--s1\)', found)]
    assert ends
    assert starts
    assert ends[0] - min(starts) > 0.1 * 900


def test_a_curve_of_another_task_is_neither_drawn_nor_spoken_of(night: Path) -> None:
    before = of_page()
    true_rlvr.add(curve("0" * 64, 0.3, 0.5))
    assert of_page() == before
    assert "true RLVR" not in before
    true_rlvr.add(curve(TASK, 0.3, 0.5))
    changed = PARAMS.model_copy(update={"train": PARAMS.train.model_copy(update={"learning_rate": 1e-3})})
    run_report(params=changed)
    assert REPORT.read_text() == before


def test_a_page_without_a_campaign_has_no_curve(night: Path) -> None:
    found = read_night()
    beside = read_beside(found, {"kind": "sort-digits"}, "sorter", curve(TASK, 0.3, 0.5))
    assert "true RLVR" in page(found, beside)
    proven = Proven(**{name: getattr(found, name) for name in Proven.model_fields})
    proof = Beside(task="t", model=None, champions=[], samples=beside.samples)
    assert "true RLVR" not in page(proven, proof)


def test_more_seconds_than_true_rlvr_took_is_nothing_saved(night: Path) -> None:
    true_rlvr.add(curve(TASK, 0.0, right(), seconds=200.0))
    text = said(of_page())
    assert "Nothing was saved: " in text
    assert "at step 90, after 3 min 20 s of training: 4.1 times fewer steps, 108 % of the seconds." in text


def test_as_many_steps_as_true_rlvr_took_is_nothing_saved(night: Path) -> None:
    true_rlvr.add(curve(TASK, 0.0, right(), every=20, seconds=2000.0))
    text = said(of_page())
    assert "Nothing was saved: " in text
    assert "at step 20, after 33 min 20 s of training: no fewer steps, 11 % of the seconds." in text


def test_what_is_never_reached_is_said_with_how_far_the_curve_came(night: Path) -> None:
    true_rlvr.add(curve(TASK, 0.3, 0.4, 0.501, seconds=510.0))
    text = said(of_page())
    # 180 / 22 is 8.18; 215.25 s of 1020 s are 21.1 %: less than 22.
    assert "More than 8.1 times fewer steps than true RLVR, and less than 22 % of its seconds: " in text
    assert "true RLVR has not reached as much by step 180 (.501 right there), after 17 min 0 s of training." in text


def test_a_curve_that_ends_before_the_campaign_leaves_it_open(night: Path) -> None:
    true_rlvr.add(curve(TASK, 0.3, 0.4, seconds=10.0))
    text = said(of_page())
    assert "What was saved is not known: " in text
    assert "by step 90 (.400 right there), after 10 s of training, where its curve ends." in text


def test_a_model_below_what_true_rlvr_begins_with_saved_nothing(night: Path) -> None:
    true_rlvr.add(curve(TASK, 0.95, 0.99))
    shown = f"{right():.3f}".replace("0.", ".")
    text = said(of_page())
    assert (
        f"Nothing was saved: the model in force after this hop has {shown} of test right, no more than the .950 that "
        "true RLVR begins with." in text
    )


def campaign(value: float | None, steps: int, seconds: float) -> Campaign:
    total = Spent(steps=steps, rollouts=0, tokens=0, seconds={"base": 7000.0, "train": seconds}, rows={})
    by_suite = {} if value is None else {"test": Right(value=value, low=0.0, high=1.0)}
    line = Line(1, 1, "fresh", None, total, total, True, None, None, 40, None, by_suite)
    return Campaign(Hop(), (line,), {}, 0)


def of(value: float | None, true: Curve, steps: int = 10, seconds: float = 100.0) -> object:
    found = saved(campaign(value, steps, seconds), true)
    return found and (found.times, found.percent, found.something)


def test_what_rounds_to_nothing_saved_is_called_that() -> None:
    steps = curve(TASK, 0.0, 1.0, seconds=100.0)
    assert of(0.5, steps, seconds=49.6) == (4.5, 99, True)
    assert of(0.5, steps, seconds=49.8) == (4.5, 100, False)
    assert of(0.5, steps, seconds=10.0, steps=43) == (1.0, 20, False)
    assert of(0.5, steps, seconds=10.0, steps=42) == (1.1, 20, True)


def test_of_a_model_that_was_not_asked_and_of_no_training_nothing_is_said() -> None:
    assert of(None, curve(TASK, 0.0, 1.0)) is None
    assert of(0.5, curve(TASK, 0.0, 1.0), steps=0) is None


def test_a_broken_file_is_refused_before_anything_is_written(night: Path) -> None:
    write_json(TRUE_RLVR, [{"task": TASK}])
    with pytest.raises(CorruptArtifact, match=r"inputs/true-rlvr\.json: 0\.seed: not curves .*git checkout"):
        run_report()
    assert not Path("metrics/headline.json").exists()
