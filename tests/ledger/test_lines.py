"""ledger.jsonl: appended to, each line once, and nothing lost by a kill."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from relex.core.errors import CorruptArtifact
from relex.core.hop import Hop
from relex.core.workspace import LEDGER, LEDGER_TABLE
from relex.ledger import lines as ledger
from tests.nights.rows import SPENT, hop_row, model, night_row


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_line_is_kept_once_and_read_as_it_was_written() -> None:
    assert ledger.read().rows == []
    first, night = hop_row(Hop(), accepted=True, champion=model(1)), night_row(1, promoted=True)
    for row in (first, night, first.model_copy(update={"accepted": False})):
        ledger.append(row)
    found = ledger.read()
    assert found.rows == [first, night]
    assert found.hop(Hop()) == first
    assert found.night(Hop()) == night
    assert found.hop(Hop(hop=2)) is None


def test_a_torn_last_line_counts_as_never_written(capsys: pytest.CaptureFixture[str]) -> None:
    row = hop_row(Hop(), accepted=True)
    ledger.append(row)
    whole = LEDGER.read_text()
    LEDGER.write_text(whole + whole[:40])
    assert ledger.read().rows == [row]
    assert "torn" in capsys.readouterr().out
    ledger.append(night_row(1, promoted=True))
    assert len(ledger.read().rows) == 2


@pytest.mark.parametrize("line", ["{}", "[1]", "nonsense", json.dumps({"kind": "hop", "campaign": 1})])
def test_a_line_that_is_not_ours_is_named(line: str) -> None:
    ledger.append(hop_row(Hop(), accepted=True))
    LEDGER.write_text(LEDGER.read_text() + line + "\n")
    with pytest.raises(CorruptArtifact, match=r"ledger\.jsonl: line 2: not a line of the ledger"):
        ledger.read()


def test_what_is_spent_adds_up() -> None:
    both = SPENT.plus(SPENT.model_copy(update={"rows": {"gate": 7}, "disk": 9}))
    assert (both.steps, both.all_seconds, both.rows, both.disk) == (24, 120.0, {"race": 500, "gate": 7}, 9)
    assert both.gpu_hours == pytest.approx(0.2)


def test_a_flat_table_of_the_last_campaigns_hops_follows_the_ledger() -> None:
    other = hop_row(Hop(), accepted=True)
    first, second = (hop_row(Hop(campaign=2, night=night), accepted=night == 2) for night in (2, 3))
    ledger.append(other)
    assert LEDGER_TABLE.read_text().splitlines()[1:] == ["1,1,1,1,12,60.0,500,0.7,"]
    for row in (first, night_row(2, campaign=2, promoted=True), second):
        ledger.append(row)
    assert LEDGER_TABLE.read_text().splitlines() == [
        "campaign,night,hop,accepted,steps,seconds,rows,test,ood",
        "2,2,1,1,12,60.0,500,0.7,",
        "2,3,1,0,12,60.0,500,0.7,",
    ]
