"""Targets placed by the scan."""

from __future__ import annotations

import json

import pytest

from relex.core.errors import InputError
from relex.stages.extrapolate.params import AUTO_TARGETS
from relex.stages.extrapolate.targets import GRID, auto_targets, grid_around


def test_a_grid_lies_around_its_horizon_and_beyond_the_window():
    assert grid_around(300, 45) == (150, 225, 300, 450, 600)
    assert grid_around(45, 45) == (46, 68, 90)
    assert len(GRID) == AUTO_TARGETS


def test_targets_come_from_the_scan_of_a_diagnosis(tmp_path):
    path = tmp_path / "diagnose.json"
    path.write_text(json.dumps({"scan": {"suggested": 300}, "trajectory": {"steps": [1, 45]}}))
    assert auto_targets(path) == (150, 225, 300, 450, 600)


@pytest.mark.parametrize("found", [{}, {"scan": {"suggested": None}}])
def test_a_diagnosis_without_a_horizon_says_what_to_do(tmp_path, found):
    path = tmp_path / "diagnose.json"
    path.write_text(json.dumps({**found, "trajectory": {"steps": [1, 45]}}))
    with pytest.raises(InputError, match=r"name extrapolate\.targets"):
        auto_targets(path)
