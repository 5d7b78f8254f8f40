"""Targets placed by the scan."""

from __future__ import annotations

import json

import pytest

from relex.core.errors import InputError
from relex.stages.extrapolate.params import AUTO_TARGETS, OTHER_RAYS
from relex.stages.extrapolate.targets import GRID, Chosen, auto_rays, auto_targets, beyond, grid_around


@pytest.mark.parametrize(
    ("named", "last", "wanted"),
    [
        ((8, 14, 20), 4, (8, 14, 20)),
        ((8, 14, 20), 8, (14, 20)),
        ((8, 14, 20), 19, (20,)),
        ((8, 14, 20), 20, (28, 40)),
        ((12,), 12, (24,)),
        ((12,), 24, (48,)),
        ((), 5, ()),
    ],
)
def test_named_targets_that_the_window_has_passed_are_doubled_once_none_is_left(named, last, wanted):
    assert beyond(named, last) == wanted


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


def test_the_rays_that_the_judges_like_best_are_chosen_each_at_its_own_horizon(tmp_path):
    rays = {
        "late": {"suggested": 100, "judged": -0.5},
        "fitted": {"suggested": 400, "judged": -0.1, "kinds": {"mlp.1": 9.0}},
        "poor": {"suggested": 200, "judged": -0.9},
        "unjudged": {"suggested": 200, "judged": None},
    }
    path = tmp_path / "diagnose.json"
    path.write_text(json.dumps({"rays": rays, "trajectory": {"steps": [1, 45]}}))
    found = auto_rays(path)
    assert OTHER_RAYS == 2
    assert found == {
        "late": Chosen(grid_around(100, 45), None),
        "fitted": Chosen(grid_around(400, 45), {"mlp.1": 9.0}),
    }


def test_a_diagnosis_that_scanned_no_other_ray_chooses_none(tmp_path):
    path = tmp_path / "diagnose.json"
    path.write_text(json.dumps({"trajectory": {"steps": [1, 45]}}))
    assert auto_rays(path) == {}
