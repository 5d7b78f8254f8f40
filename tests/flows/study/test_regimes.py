"""The regimes' page: negative ones first, and every figure from its hop's rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flows.study.cases import regimes
from flows.study.night import reported_whole, write_params
from flows.study.regimes import first_hops, horizons, label_of, more_rays
from flows.study.regimes_tables import CONTROLS, Regime, page
from relex.core.errors import InputError
from relex.params.load import load
from tests.builders import ROOT
from tests.builders.curves import points as curve

DIAGNOSIS = {
    "says": "The line forecasts well.",
    "scan": {"suggested": 100, "judged": -0.5},
    "rays": {"fitted": {"suggested": 90, "judged": -0.25}, "damped": {"suggested": None, "judged": None}},
    "trajectory": {"steps": [1, 2, 12]},
    "overall": {"explained_share": [0.99, 1.0]},
    "persistence": {"cosine": [0.9, 0.8, None, None], "straight": 0.95, "null_straight": 0.3},
    "backtest": [{"skill": [0.1, 0.8]}],
}


def regime(name: str, own: tuple[float, ...], first: tuple[float, ...], **more: Any) -> Regime:
    steps = (50, 100, 200)
    values = {"base": 0.3, "observed": 0.4}
    values |= {f"step_{step:06d}": value for step, value in zip(steps, own, strict=True)}
    values |= {f"step_{step:06d}-first-update": value for step, value in zip(steps, first, strict=True)}
    values |= {f"step_{step:06d}-fitted": 0.9 for step in steps}
    kinds = {"base": ("base", 0), "observed": ("observed", 12)}
    models = {}
    for model in values:
        control = "control" if model.endswith("update") else "candidate"
        kind, step = kinds.get(model, (control, int(model[5:11]) if model not in kinds else 0))
        models[model] = {"kind": kind, "step": step}
    cells = {model: {"test": {"avg_at_4": {"value": value}}} for model, value in values.items()}
    shares = {model: {f"p{number}": value for number in range(20)} for model, value in values.items()}
    return Regime(name, DIAGNOSIS, {"models": models, "metrics": cells}, shares, **more)


def test_the_regime_that_gains_least_comes_first_and_what_ruins_is_named() -> None:
    good, bad = regime("good", (0.5, 0.7, 0.6), (0.4, 0.5, 0.4)), regime("bad", (0.41, 0.2, 0.0), (0.4, 0.5, 0.4))
    text = page([good, bad], "the command")
    assert text.index("## bad") < text.index("## good")
    assert "| bad | 0.300 | 0.400 | 0.410 at 50 | +0.010 [+0.010, +0.010] | - | 100 | fitted: 0.900 at 50 |" in text
    assert "| 0.500 at 100 | - | - | -0.090 [-0.090, -0.090] |" in text  # the plain line minus the first update
    assert good.ruined is None
    assert "| good | 100 | 100 | 0.990 | 0.80 | 0.90, 0.80, - | 0.95 (0.30) |" in text
    assert "| plain line | 0.500 | 0.700 | 0.600 |" in text
    assert "| regime | plain line | fitted | damped |" in text
    assert "| good | -0.500 at 100 | -0.250 at 90 | - |" in text


def test_the_share_of_the_true_gain_is_of_true_rlvr_at_the_same_step() -> None:
    found = regime("good", (0.5, 0.7, 0.6), (0.4, 0.5, 0.4), curve=curve(0.3, 0.5, 0.7))
    # The curve's points are 90 steps apart: .522 at step 100, of .3 at the base.
    assert "| 180 % |" in page([found], "the command")


def test_where_no_ray_was_scanned_by_itself_there_is_no_table_of_scans() -> None:
    found = regime("good", (0.5, 0.7, 0.6), (0.4, 0.5, 0.4))
    assert "What the scan had said" in page([found], "the command")
    unscanned = {name: value for name, value in DIAGNOSIS.items() if name not in ("scan", "rays")}
    text = page([replace(found, diagnosis=unscanned)], "the command")
    assert "What the scan had said" not in text
    assert "| good | - | 100 |" in text


def test_what_a_withheld_horizon_answered_stands_beside_what_others_say_of_it() -> None:
    off = {"off": 0.02, "low": -0.01, "high": 0.05}
    told = {"step": 100, "asked": 0.7, "all_others": {**off, "effective": 0.9}, "line": {**off, "off": -0.04}}
    text = page(
        [regime("good", (0.5, 0.7, 0.6), (0.4, 0.5, 0.4), withheld=[{**told, "neighbours": told["all_others"]}])], ""
    )
    said = "+0.020 [-0.010, +0.050]"
    assert f"| good | 100 | 0.700 | {said} | 0.90 | {said} | 0.90 | -0.040 [-0.010, +0.050] |" in text
    assert "all others 0.020 (0.020), neighbours 0.020 (0.020), line 0.040 (0.040)." in text


def test_another_seed_is_not_taken_for_what_has_been_run() -> None:
    names = ["as params.yaml has it", "rate 2x"]
    assert len({label_of(name, seed) for name in names for seed in (0, 1)}) == 4


def test_horizons_lie_on_both_sides_of_the_scans_and_beyond_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    assert horizons(DIAGNOSIS) == [25, 50, 100, 200, 400]
    assert horizons({**DIAGNOSIS, "scan": {"suggested": 20}}) == [13, 20, 40, 80]
    monkeypatch.chdir(ROOT)
    assert horizons({"trajectory": {"steps": [1, 12]}}) == [24, 48, 96]


def test_every_regime_is_parameters_that_a_stage_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = regimes()
    assert list(found) == ["as params.yaml has it", "rate 2x", "rate 5x", "wide", "bent", "adapters"]
    for changes in found.values():
        more = {**more_rays(), "extrapolate.targets": [50, 100], "extrapolate.controls": list(CONTROLS)}
        write_params(tmp_path / "params.yaml", {**changes, **more, **reported_whole([50, 100], CONTROLS)})
        raced = load(tmp_path / "params.yaml").extrapolate
        assert [variant.name for variant in raced.variants] == ["lateline", "fitted", "damped"]
        assert raced.fits == 1
    rates = [load_rate(tmp_path, changes) for changes in found.values()]
    assert rates == pytest.approx([4e-6, 8e-6, 2e-5, 3e-6, 2e-5, 1e-4], rel=1e-12)


def load_rate(folder: Path, changes: Any) -> float:
    write_params(folder / "params.yaml", changes)
    return load(folder / "params.yaml").train.learning_rate


def test_a_base_that_is_not_made_here_has_the_rates_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text((ROOT / "infra/profiles/smollm2-135m.yaml").read_text())
    assert list(regimes()) == ["as params.yaml has it", "rate 2x", "rate 5x"]


def test_a_regime_that_there_is_not_is_named_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(InputError, match=r"rate 2x, rate 5x, wide, bent, adapters.*\n?.*wider"):
        first_hops.fn(0, "the command", ["wider"])
