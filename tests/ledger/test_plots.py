"""`dvc plots show` of a project: the ledger's plots, with and without a ledger."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from relex.core.hop import Hop
from relex.ledger import lines
from relex.ledger.lines import Right
from tests.graph import DVC_YAML
from tests.nights.rows import SPENT, hop_row


def dvc(*arguments: str) -> str:
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def shown() -> dict[str, list[dict[str, Any]]]:
    """By plot, the rows that it draws."""
    found = json.loads(dvc("plots", "show", "--json"))["data"]
    return {name: [row for plot in plots for row in plot["content"]["data"]["values"]] for name, plots in found.items()}


def test_accuracy_is_drawn_against_steps_and_against_seconds_once_there_is_a_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    yaml = YAML(typ="safe")
    plots = yaml.load(DVC_YAML)["plots"]
    yaml.dump({"plots": plots}, Path("dvc.yaml"))
    dvc("init", "--no-scm", "--quiet")
    assert not any(shown().values())  # a fresh clone: it says that the file is not there, and draws what is
    right = {suite: Right(value=value, low=0.1, high=0.9) for suite, value in (("test", 0.75), ("ood", 0.5))}
    lines.append(hop_row(Hop(), accepted=True, right=right))
    lines.append(hop_row(Hop(night=2), accepted=False, right=right, total=SPENT.plus(SPENT)))
    drawn = shown()
    assert len(drawn) == 2
    for (name, rows), (axis, places) in zip(
        drawn.items(), (("steps", {12.0, 24.0}), ("seconds", {60.0, 120.0})), strict=True
    ):
        points = {(row["field"], float(row[axis]), float(row[row["field"]])) for row in rows}
        assert points == {(suite, place, right[suite].value) for suite in right for place in places}, name
