"""Variants: every target with another rank, shrinkage or ray, beside the section's own candidates."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from relex.checkpoints.digest import weights_sha256
from relex.core import workspace
from relex.core.atomic import read_json
from relex.core.digest import folder_sha256
from relex.core.errors import InputError, InputErrors
from relex.forecast.kinds import group_of, kind_of
from relex.stages.evaluate.contestants import load_contestants
from relex.stages.extrapolate import stage as extrapolate
from relex.stages.extrapolate.params import Variant
from relex.trajectory import stamps
from relex.window.options import Options
from relex.window.request import Request
from tests.builders.contests import set_champion, write_params
from tests.builders.damage import flip
from tests.builders.nights import make_project
from tests.builders.windows import base_tensors, deltas_at, line_with_noise, write_trajectory

STEPS = [1, 2, 3, 4, 5, 6]
SECTION = {
    "train.budget.steps": 6,
    "train.warmup_steps": 1,
    "train.window": {"first": 1, "last": 6, "every": 1},
    "extrapolate.targets": [12, 24],
    "extrapolate.variants": [],
    "extrapolate.rays": "named",
    "extrapolate.device": "cpu",
}
VARIANTS = [
    {"name": "late", "anchor": "last", "first": 4},
    {"name": "half", "shrink": 0.5},
    {"name": "two", "rank": 2},
]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    write_trajectory(
        tmp_path / "trajectory", tmp_path / "base", STEPS, line_with_noise(seed=1, rate=1e-3), rewards=True
    )
    return tmp_path


def test_each_variant_gives_each_target_the_weights_of_its_own_request(project: Path) -> None:
    params = write_params(project, {**SECTION, "extrapolate.variants": VARIANTS})
    extrapolate.run(params.extrapolate)
    names = [f"step_0000{target}{label}" for label in ("", "-late", "-half", "-two") for target in (12, 24)]
    assert sorted(path.name for path in workspace.CANDIDATES.glob("step_*")) == sorted(names)
    fit = read_json(workspace.CANDIDATES / "fit.json")
    assert list(fit["variants"]) == ["half", "late", "two"]
    asked = set(Options.model_fields) - {"device", "memory"} | {"mode", "targets"}
    assert all(set(request) == asked for request in [fit["request"], *fit["variants"].values()])
    assert Request.of_facts(fit["request"]).facts() == fit["request"]
    alone = Request(targets=(12, 24), options=Options(anchor="last", first=4, device="cpu"))
    extrapolate.extrapolate_folder(Path("trajectory"), Path("base"), alone, Path("alone"))
    for target in (12, 24):
        late = weights_sha256(workspace.CANDIDATES / f"step_0000{target}-late")
        assert late == weights_sha256(Path("alone") / f"step_0000{target}")
    assert len({weights_sha256(workspace.CANDIDATES / name) for name in names}) == len(names)


def test_variants_are_contestants_with_the_step_of_their_target(project: Path) -> None:
    params = write_params(project, {**SECTION, "extrapolate.variants": VARIANTS[:1]})
    extrapolate.run(params.extrapolate)
    set_champion(None)
    found = {c.name: c.step for c in load_contestants() if c.kind == "candidate"}
    assert found == {"step_000012": 12, "step_000012-late": 12, "step_000024": 24, "step_000024-late": 24}


RAYS = [
    {"name": "mean", "anchor": "last", "anchor_mean": 3, "rank": "full", "first": 2},
    {"name": "kinds", "rank": "full", "kinds": {"mlp": 0.5, "norms": 0.0, "embeddings": 1.5}},
    {"name": "soup", "rank": "full", "soup": [14, 30]},
]


def test_the_bytes_of_every_ray_are_its_sum_in_float64(project: Path) -> None:
    params = write_params(project, {**SECTION, "extrapolate.variants": RAYS})
    extrapolate.run(params.extrapolate)
    base, time = base_tensors(project / "base"), np.array(STEPS, dtype=np.float64)
    rows = [deltas_at(step, base, line_with_noise(seed=1, rate=1e-3)) for step in STEPS]
    for name, start in base.items():
        deltas = np.stack([row[name].double().numpy().ravel() for row in rows])
        sizes = {"mlp": 0.5, "norms": 0.0, "embeddings": 1.5}
        line = {step: np.polyfit(time, deltas, 1).T @ [step, 1.0] for step in (12, 14, 24, 30)}
        late = np.polyfit(time[1:], deltas[1:], 1)[0]
        wanted = {"step_000022-soup": (line[14] + line[30]) / 2}
        for step in (12, 24):
            wanted[f"step_0000{step}-mean"] = deltas[-3:].mean(axis=0) + late * (step - time[-3:].mean())
            wanted[f"step_0000{step}-kinds"] = deltas[-1] + sizes.get(kind_of(name), 1.0) * (line[step] - deltas[-1])
        for folder, delta in wanted.items():
            found = base_tensors(workspace.CANDIDATES / folder)[name].double().numpy().ravel()
            exact = start.double().numpy().ravel() + delta
            assert np.linalg.norm(found - exact) / np.linalg.norm(exact) < 1e-5, (folder, name)
    assert {path.name for path in workspace.CANDIDATES.glob("step_*-*")} == set(wanted)


def test_a_soup_alone_is_one_candidate(project: Path) -> None:
    params = write_params(project, {**SECTION, "extrapolate.targets": [], "extrapolate.soup": [10, 25]})
    extrapolate.run(params.extrapolate)
    assert [path.name for path in workspace.CANDIDATES.glob("step_*")] == ["step_000018"]
    assert params.extrapolate.target_count == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"extrapolate.soup": [10, 25]}, "a soup has no targets"),
        ({"extrapolate.soup": [4, 25], "extrapolate.targets": []}, r"extrapolate\.soup: inside the window"),
        ({"extrapolate.variants": [{"name": "s", "soup": [4, 25]}]}, r"variants \(s\): inside the window"),
        ({"extrapolate.variants": [{"name": "s", "soup": [25]}]}, "variant s: soup: must be two"),
        ({"extrapolate.variants": [{"name": "m", "anchor_mean": 2}]}, "variant m: anchor_mean: only anchor `last`"),
        ({"extrapolate.anchor_mean": 9, "extrapolate.anchor": "last"}, "9 is above the 6 observed steps"),
        ({"extrapolate.variants": [{"name": "k", "kinds": {"heads": 1.0}}]}, "attention"),
        ({"extrapolate.kinds": {"mlp": -0.5}}, "0 or more"),
        ({"extrapolate.variants": [{"name": "f", "kinds": "fitted"}]}, "variant f: kinds: fitted takes rays: auto"),
        ({"diagnose.scan_horizons": 0, "extrapolate.rays": "auto"}, "scan_horizons is 0: say named"),
    ],
)
def test_a_ray_that_cannot_be_is_refused_before_any_work(project: Path, changes: dict[str, object], said: str) -> None:
    with pytest.raises(InputErrors, match=said):
        write_params(project, {**SECTION, **changes})


def test_a_variant_that_does_not_fit_the_window_is_refused_and_writes_nothing(project: Path) -> None:
    params = write_params(project, SECTION)
    late = Variant(name="late", first=6)  # params.yaml refuses it, but a training may end before its window does
    with pytest.raises(InputErrors):
        extrapolate.run(params.extrapolate.model_copy(update={"variants": (late,)}))
    assert not workspace.CANDIDATES.exists()


def test_two_variants_of_one_name_are_refused(project: Path) -> None:
    with pytest.raises(InputErrors, match="distinct names"):
        write_params(project, {**SECTION, "extrapolate.variants": [VARIANTS[0], VARIANTS[0]]})


def test_the_observed_model_has_the_step_at_which_training_ended(project: Path) -> None:
    """Not the last of train.window: a budget of time may end before it."""
    longer = {"train.budget.steps": 9, "train.window": {"first": 1, "last": 9, "every": 1}}
    params = write_params(project, {**SECTION, **longer})
    extrapolate.run(params.extrapolate)
    set_champion(None)
    assert params.train.window.last != STEPS[-1]
    assert [c.step for c in load_contestants() if c.kind == "observed"] == [STEPS[-1]]
    workspace.EXTRAPOLATION_METRICS.write_text("{}")
    with pytest.raises(InputError, match="which step was observed last"):
        load_contestants()


@pytest.mark.parametrize("damaged", ["trajectory/steps/000002.safetensors", "base/model.safetensors"])
def test_the_stage_hashes_what_may_be_promoted_whatever_is_known_of_it(
    project: Path, monkeypatch: pytest.MonkeyPatch, damaged: str
) -> None:
    monkeypatch.setattr(stamps, "_stamp", lambda path: [])  # a bit that turns in the medium changes no stamp
    params = write_params(project, SECTION)
    extrapolate.run(params.extrapolate)
    before = folder_sha256(workspace.CANDIDATES)
    flip(Path(damaged))
    with pytest.raises(InputError, match="wrong hash|another base"):
        extrapolate.run(params.extrapolate)
    assert folder_sha256(workspace.CANDIDATES) == before


def test_the_portfolio_goes_where_the_scan_points_on_each_ray(project: Path) -> None:
    variants = [
        {"name": "late", "anchor": "last", "first": 4},
        {"name": "fitted", "rank": "full", "kinds": "fitted"},
        {"name": "poor", "rank": "full"},
    ]
    auto = {"extrapolate.rays": "auto", "extrapolate.targets": "auto", "extrapolate.variants": variants}
    params = write_params(project, {**SECTION, **auto})
    assert params.extrapolate.scanned == {
        "late": {"anchor": "last", "first": 4},
        "fitted": {"rank": "full", "kinds": "fitted"},
        "poor": {"rank": "full"},
    }
    rays = {
        "late": {"suggested": 20, "judged": -0.5},
        "fitted": {"suggested": 40, "judged": -0.1, "kinds": {"mlp.0": 2.5, "norms": 0.0}},
        "poor": {"suggested": 30, "judged": -0.9},
    }
    workspace.DIAGNOSIS.parent.mkdir(exist_ok=True)
    facts = {"scan": {"suggested": 16}, "rays": rays, "trajectory": {"steps": list(STEPS)}}
    workspace.DIAGNOSIS.write_text(json.dumps(facts))
    extrapolate.run(params.extrapolate)
    names = {path.name for path in workspace.CANDIDATES.glob("step_*")}
    assert {name for name in names if name.endswith("fitted")} == {
        f"step_0000{at}-fitted" for at in (20, 30, 40, 60, 80)
    }
    assert "step_000016" in names
    assert "step_000020-late" in names
    assert not any(name.endswith("poor") for name in names)
    assert len(names) <= params.extrapolate.target_count
    asked = json.loads((workspace.CANDIDATES / "fit.json").read_text())["variants"]["fitted"]
    assert asked["kinds"] == {"mlp.0": 2.5, "norms": 0.0}
    base, time = base_tensors(project / "base"), np.array(STEPS, dtype=np.float64)
    rows = [deltas_at(step, base, line_with_noise(seed=1, rate=1e-3)) for step in STEPS]
    for name, start in base.items():
        deltas = np.stack([row[name].double().numpy().ravel() for row in rows])
        forecast = np.polyfit(time, deltas, 1).T @ [40.0, 1.0]
        size = asked["kinds"].get(group_of(name), asked["kinds"].get(kind_of(name), 1.0))
        exact = start.double().numpy().ravel() + deltas[-1] + size * (forecast - deltas[-1])
        found = base_tensors(workspace.CANDIDATES / "step_000040-fitted")[name].double().numpy().ravel()
        assert np.linalg.norm(found - exact) / np.linalg.norm(exact) < 1e-5, name
