"""Curves of true RLVR: when they reach an accuracy, the file that holds them, and the ones that are committed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relex.core.errors import CorruptArtifact
from relex.core.workspace import TRUE_RLVR
from relex.ledger import true_rlvr
from relex.ledger.task import task_of
from relex.ledger.true_rlvr import reached
from relex.params.load import load
from tests.builders import ROOT
from tests.builders.curves import curve, points

ONE, TWO = "1" * 64, "2" * 64


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_step_is_where_the_straight_lines_first_reach_an_accuracy() -> None:
    found = points(0.4, 0.6, 0.5, 0.8)
    assert reached(found, 0.5) == (45.0, 90.0)
    assert reached(found, 0.6) == (90.0, 180.0)
    assert reached(found, 0.65) == pytest.approx((225.0, 450.0))
    assert reached(found, 0.3) == (0.0, 0.0)
    assert reached(found, 0.81) is None
    assert reached((), 0.1) is None


@given(st.lists(st.floats(0.0, 1.0), min_size=2, max_size=9), st.floats(0.0, 1.0))
def test_what_is_reached_lies_on_the_curve_and_nothing_before_it_is_as_high(values: list[float], value: float) -> None:
    found = reached(points(*values), value)
    assert (found is None) == (max(values) < value)
    if found is not None:
        step, seconds = found
        assert seconds == pytest.approx(2 * step)
        assert all(other < value for at, other in enumerate(values) if 90 * at < step)


def test_without_a_file_there_is_no_curve(project: Path) -> None:
    assert true_rlvr.read() == ()
    assert true_rlvr.of(ONE) is None


def test_a_curve_takes_the_place_of_its_tasks_and_of_no_other(project: Path) -> None:
    true_rlvr.add(curve(TWO, 0.3, 0.5))
    true_rlvr.add(curve(ONE, 0.3, 0.6, seed=7))
    true_rlvr.add(curve(TWO, 0.3, 0.7))
    assert [one.task for one in true_rlvr.read()] == [TWO, ONE]  # by their seeds
    assert true_rlvr.of(TWO) == curve(TWO, 0.3, 0.7)
    assert true_rlvr.of(ONE) == curve(ONE, 0.3, 0.6, seed=7)
    assert true_rlvr.of(None) is None


def test_the_same_curves_are_the_same_bytes_whatever_came_first(project: Path) -> None:
    curves = [curve(ONE, 0.3, 0.5), curve(TWO, 0.2, 0.4), curve("3" * 64, 0.1, 0.2, seed=4)]
    written = []
    for order in (curves, curves[::-1]):
        TRUE_RLVR.unlink(missing_ok=True)
        for one in order:
            true_rlvr.add(one)
        written.append(TRUE_RLVR.read_bytes())
    assert written[0] == written[1]
    assert written[0].startswith(b'[\n {\n  "command"')


def broken(**changes: Any) -> str:
    return json.dumps([json.loads(curve(ONE, 0.3, 0.5).model_dump_json()) | changes])


def first_point(**changes: Any) -> str:
    found = json.loads(broken())
    found[0]["points"][0] |= changes
    return json.dumps(found)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "true-rlvr.json: not curves of true RLVR"),
        ("<<<<<<< HEAD\n[]", "Invalid JSON"),
        ("{}", "true-rlvr.json: not curves"),
        (broken(task="ours"), r"0\.task"),
        (broken(points=[]), r"0\.points"),
        (broken(more=1), r"0\.more"),
        (first_point(step=90), "step 90 comes step 90"),
        (first_point(seconds=180.0), "steps and seconds must grow"),
        (first_point(seconds=float("nan")), r"0\.points\.0\.seconds"),
        (first_point(test={"value": 50.0, "low": 0.1, "high": 0.9}), "between 0 and 1"),
        (first_point(ood={"value": 0.5, "low": 0.1}), r"0\.points\.0\.ood\.high"),
        (json.dumps(2 * json.loads(broken())), "two curves of the task 1111"),
    ],
)
def test_a_file_that_holds_something_else_is_refused_and_stays(project: Path, text: str, says: str) -> None:
    TRUE_RLVR.parent.mkdir()
    TRUE_RLVR.write_text(text)
    with pytest.raises(CorruptArtifact, match=rf"{says}.*git checkout inputs/true-rlvr\.json"):
        true_rlvr.add(curve(TWO, 0.3, 0.5))
    assert TRUE_RLVR.read_text() == text


@pytest.mark.parametrize("committed", ["params.yaml", "infra/profiles/smollm2-135m.yaml"])
def test_a_committed_task_has_the_curve_that_was_measured_with_its_seed(
    committed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    params = load(ROOT / committed)
    found = true_rlvr.of(task_of(params.problems, params.base, params.train, params.evaluate))
    assert found is not None
    assert found.seed == 0 == params.train.seed  # type: ignore[union-attr]


def test_the_committed_curves_are_written_as_the_study_writes_them(project: Path) -> None:
    TRUE_RLVR.parent.mkdir()
    TRUE_RLVR.write_bytes(committed := (ROOT / TRUE_RLVR).read_bytes())
    true_rlvr.add(true_rlvr.read()[0])
    assert TRUE_RLVR.read_bytes() == committed


def test_the_committed_curves_say_what_the_page_of_campaigns_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    page = (ROOT / "docs/campaign.md").read_text()
    curves = [one for one in true_rlvr.read() if one.command in page]
    assert [one.seed for one in curves] == [0, 1, 2]
    for one in curves:
        _, _, section = page.partition(f"## Seed {one.seed}\n")
        table = section.split("\n## ")[0].split("True RLVR from the same base:")[1].split("|---|---|---|---|\n")[1]
        rows = [
            f"| {point.step} | {point.seconds:.0f} "
            + "".join(f"| {a.value:.3f} [{a.low:.3f}, {a.high:.3f}] " for a in (point.test, point.ood))
            for point in one.points
        ]
        assert [row.strip("| ") for row in table.strip().splitlines()] == [row.strip("| ") for row in rows]
