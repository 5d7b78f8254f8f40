"""The campaign on the page: finished hops from the ledger, the present one from its own metrics."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import pytest

from relex.core import hop as hops
from relex.core.errors import CorruptArtifact, InputError
from relex.core.hop import Hop, Training
from relex.core.workspace import LEDGER
from relex.ledger import lines
from relex.ledger.lines import Right
from tests.builders.report_nights import change, run_report, write_night
from tests.nights.rows import SPENT, hop_row, model, night_row

PROMOTES = {"base": 0.30, "observed": 0.36, "champion": 0.4, "step_000020": 0.55, "step_000040": 0.80}
BEFORE = {"test": Right(value=0.25, low=0.2, high=0.3), "ood": Right(value=0.2, low=0.1, high=0.3)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = write_night(tmp_path_factory.mktemp("night") / "night", PROMOTES)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def night(made: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The metrics of a hop that met a champion; hop.json as the first hop's."""
    for name, data in made.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def place(**changes: object) -> Hop:
    """Write hop.json: the present hop, which meets the champion that its metrics name."""
    hop = hops.read().model_copy(update=changes)
    hops.write(hop)
    return hop


def html() -> str:
    run_report("sorter")
    return Path("report.html").read_text()


def said(html: str) -> str:
    seen = re.sub(r"<[^>]+>", " ", re.sub(r"<(style|script|svg)\b.*?</\1>", "", html, flags=re.DOTALL))
    return " ".join(unescape(seen).replace("\N{EN DASH}", "-").split())


def section(html: str) -> str:
    text = said(html)
    return text[text.index("The campaign, hop by hop") : text.index("Accuracy against horizon")]


def two_earlier_hops() -> None:
    first, second = Hop(), Hop(night=1, hop=2, start=model(1), champion=model(1), mode="reground")
    accepted = hop_row(first, accepted=True, champion=model(1), before=BEFORE)
    total = accepted.total.plus(SPENT)
    for row in (
        hop_row(Hop(campaign=7), accepted=True),
        accepted,
        hop_row(second, accepted=False, champion=model(1), total=total),
        night_row(1, promoted=True),
    ):
        lines.append(row)


def test_a_first_hop_says_that_there_is_none_before_it(night: Path) -> None:
    assert "holds no hop of this campaign before this one" in section(html())
    assert "night 1, hop 1 from the base to promote step 40 -" in section(html())


def test_every_hop_has_its_line_and_the_sums_go_on(night: Path) -> None:
    two_earlier_hops()
    place(night=2, hop=1, start=model(1), mode="reground", training=Training(before=24))
    text = section(html())
    assert "night 1, hop 1 from the base accepted step 600 1 .700 .600-.800 - 12 Σ 12 9 s Σ 9 s 51 s Σ 51 s" in text
    assert "night 1, hop 2 from version 1 refused 1 .700 .600-.800 - 12 Σ 24 9 s Σ 18 s 51 s Σ 1 min 42 s" in text
    row = text[text.index("night 2, hop 1 from version 1 to promote step 40 -") :]
    evaluation = json.loads(Path("metrics/evaluate.json").read_text())
    test = evaluation["metrics"]["step_000040"]["test"]["avg_at_4"]["value"]
    rows = sum(part["rows"] for part in evaluation["proof"]["spent"].values())
    assert f"{test:.3f}".replace("0.", ".") in row
    # 10 steps in 25 s; 130 s of proof and 0.25 s of forecasts.
    assert "10 Σ 34 25 s Σ 43 s 2 min 10 s Σ 3 min 52 s" in row
    assert f"{rows:,} Σ {rows + 1000:,}" in row
    assert "night 7" not in text


def test_the_chart_goes_from_the_base_over_every_hop_and_shows_which_were_refused(night: Path) -> None:
    two_earlier_hops()
    place(night=2, hop=1, start=model(1), mode="reground", training=Training(before=24))
    page = html()
    (wide,) = re.findall(r"<svg(?:(?!<svg).)*campaign-wide-.*?</svg>", page, re.DOTALL)
    assert "trained steps of the campaign" in wide
    assert "minutes of all stages, training and proof" in wide
    assert "open: refused, the champion stays" in wide
    paths = re.findall(r'<path d="M [^"]*L [^"]*"[^>]*stroke: var\(--s1\)[^>]*>', wide)
    longest = max(path.count("L ") for path in paths)
    assert longest == 3  # base, two earlier hops, and this one
    assert page.count('id="campaign-narrow-') > 10


def test_only_a_campaign_with_a_refusal_explains_open_points(night: Path) -> None:
    assert "open: refused" not in html()


def test_steps_of_a_training_that_goes_on_count_once(night: Path) -> None:
    row = hop_row(Hop(), accepted=False, spent=SPENT.model_copy(update={"steps": 4}), before=BEFORE)
    lines.append(row.model_copy(update={"total": row.spent}))
    place(night=2, hop=1, mode="continue", training=Training(grown=1))
    page = html()
    assert "night 2, hop 1 the training from the base goes on" in section(page)
    assert " 6 Σ 10 " in section(page)  # ten steps in its files, four of them another hop's
    assert "trained 10 RLVR steps , 4 of them in earlier hops" in said(page)


def test_a_stage_that_ran_for_an_earlier_campaign_costs_this_one_nothing(night: Path) -> None:
    lines.append(hop_row(Hop(), accepted=True, when="2026-11-28T00:00:00Z"))
    change(Path("timings/extrapolate.json"), seconds=7000.0, ended="2026-11-27T00:00:00Z")
    place(campaign=2, night=2)
    assert "25 s Σ 25 s 2 min 10 s Σ 2 min 10 s" in section(html())


def test_a_page_that_is_made_again_later_is_the_same(night: Path) -> None:
    two_earlier_hops()
    hop = place(night=2, hop=1, start=model(1), mode="reground", training=Training(before=24))
    first = html()
    lines.append(hop_row(hop, accepted=True, champion=model(3)))
    lines.append(hop_row(hop.model_copy(update={"hop": 2}), accepted=False))
    assert html() == first


def test_a_page_that_is_made_again_after_another_model_came_first_no_longer_says_promote(night: Path) -> None:
    two_earlier_hops()
    hop = place(night=2, hop=1, start=model(1), mode="reground", training=Training(before=24))
    decided = html()
    assert "Decided by this hop, before the registry was asked Promote the forecast for step 40" in said(decided)
    overtaken = hop_row(hop, accepted=False, champion=model(3))
    lines.append(overtaken.model_copy(update={"outcome": "overtaken by version 7"}))
    page = html()
    text = said(page)
    assert "What became of it Not promoted: overtaken by version 7 The hop had decided: Promote the forecast" in text
    assert "night 2, hop 1 from version 1 not promoted overtaken by version 7 3 " in section(page)
    assert "decision keep-champion" in page
    assert "decision promote-candidate" not in page


def test_the_next_hops_page_says_which_version_overtook_this_one(night: Path) -> None:
    first = hop_row(Hop(), accepted=False, before=BEFORE)
    lines.append(first.model_copy(update={"outcome": "overtaken by version 7"}))
    place(night=2, hop=1)
    assert "night 1, hop 1 from the base not promoted overtaken by version 7" in section(html())


def test_the_title_says_campaign_night_and_hop(night: Path) -> None:
    place(campaign=2, night=14, hop=3)
    page = html()
    assert "Campaign 2, night 14, hop 3" in re.findall(r"<title>(.*?)</title>", page)[0]
    assert "Campaign 2, night 14, hop 3" in said(page[page.index("<body>") :])[:40]


def test_metrics_of_another_hop_are_refused_before_anything_is_written(night: Path) -> None:
    place(champion=model(9))
    with pytest.raises(InputError, match=r"hop\.json.*another champion.*dvc repro"):
        html()
    assert not Path("metrics/headline.json").exists()


def test_a_ledger_that_is_none_is_named(night: Path) -> None:
    LEDGER.write_text('{"kind": "hop"}\n')
    with pytest.raises(CorruptArtifact, match=r"ledger\.jsonl: line 1"):
        html()
