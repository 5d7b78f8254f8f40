"""Controls: checkpoints as far from the base as the candidates, in directions that take no forecast."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from relex.core import workspace
from relex.core.atomic import read_json, write_json
from relex.core.digest import folder_sha256
from relex.core.errors import InputError, InputErrors
from relex.proof.night import CONTROL
from relex.stages.decide.stage import players
from relex.stages.evaluate.contestants import load_contestants
from relex.stages.extrapolate import stage as extrapolate
from relex.stages.extrapolate.signs import signs
from tests.builders.contests import set_champion, write_params
from tests.builders.nights import make_project
from tests.builders.windows import base_tensors, deltas_at, line_with_noise, write_trajectory

STEPS = [1, 2, 3, 4, 5, 6]
KINDS = ["first-update", "mean-update", "random"]
SECTION = {
    "train.budget.steps": 6,
    "train.warmup_steps": 1,
    "train.window": {"first": 1, "last": 6, "every": 1},
    "extrapolate.targets": [12, 24],
    "extrapolate.rays": "named",
    "extrapolate.variants": [],
    "extrapolate.device": "cpu",
}
PATH = line_with_noise(seed=1, rate=1e-3, noise=1e-3)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    write_trajectory(tmp_path / "trajectory", tmp_path / "base", STEPS, PATH, rewards=True)
    set_champion(None)
    return tmp_path


def run(project: Path, **changes: object) -> None:
    extrapolate.run(write_params(project, {**SECTION, **changes}).extrapolate)


def moved(folder: str, base: dict) -> dict[str, np.ndarray]:
    found = base_tensors(workspace.CANDIDATES / folder)
    return {name: (found[name].double() - base[name].double()).numpy().ravel() for name in base}


def test_a_direction_of_signs_is_the_same_in_pieces() -> None:
    whole = signs("w", 0, 5000)
    assert set(whole) == {-1.0, 1.0}
    assert abs(whole.mean()) < 0.06
    for start, count in ((0, 1), (255, 3), (256, 256), (700, 4300), (4999, 1)):
        np.testing.assert_array_equal(signs("w", start, count), whole[start : start + count])
    assert abs((whole * signs("v", 0, 5000)).mean()) < 0.06
    assert len(signs("w", 17, 0)) == 0


def test_every_control_is_its_direction_in_float64_as_long_as_the_candidate(project: Path) -> None:
    run(project, **{"extrapolate.controls": KINDS})
    base = base_tensors(project / "base")
    rows = [deltas_at(step, base, PATH) for step in STEPS]
    for target in (12, 24):
        candidate = moved(f"step_0000{target}", base)
        written = {kind: moved(f"step_0000{target}-{kind}", base) for kind in KINDS}
        for name, delta in candidate.items():
            deltas = np.stack([row[name].double().numpy().ravel() for row in rows])
            left, sizes, _ = np.linalg.svd(deltas, full_matrices=False)
            far = abs(np.polynomial.Polynomial.fit(STEPS, sizes[0] * left[:, 0], 1)(target))
            directions = {"first-update": deltas[0], "mean-update": deltas[2], "random": signs(name, 0, delta.size)}
            start = base[name].double().numpy().ravel()
            for kind, direction in directions.items():
                wanted = far * direction / np.linalg.norm(direction)
                gap = np.linalg.norm(written[kind][name] - wanted)
                assert gap / np.linalg.norm(start + wanted) < 1e-5, (kind, name)
                assert np.linalg.norm(written[kind][name]) == pytest.approx(np.linalg.norm(delta), rel=1e-4)


def test_controls_change_no_byte_of_the_candidates_and_do_not_depend_on_the_memory(project: Path) -> None:
    run(project)
    assert read_json(workspace.EXTRAPOLATION_METRICS) == {"observed_step": 6}
    plain = {path.name: folder_sha256(path) for path in workspace.CANDIDATES.glob("step_*")}
    run(project, **{"extrapolate.controls": KINDS})
    found = {path.name: folder_sha256(path) for path in workspace.CANDIDATES.glob("step_*")}
    assert plain.items() <= found.items()
    run(project, **{"extrapolate.controls": KINDS, "extrapolate.memory": "24MiB"})
    assert found == {path.name: folder_sha256(path) for path in workspace.CANDIDATES.glob("step_*")}


def test_controls_are_contestants_that_the_proof_knows_as_such(project: Path) -> None:
    run(project, **{"extrapolate.controls": ["random"]})
    names = {"step_000012-random", "step_000024-random"}
    assert set(read_json(workspace.EXTRAPOLATION_METRICS)["controls"]) == names
    contestants = load_contestants()
    assert {one.name for one in contestants if one.control} == names
    assert {one.player.name for one in contestants if one.player.kind == CONTROL} == names
    facts = {one.name: one.facts() for one in contestants}
    assert {name for name, one in facts.items() if one.get("control")} == names
    assert players(facts) == [one.player for one in contestants]


def test_a_control_that_is_not_there_is_named(project: Path) -> None:
    run(project)
    write_json(workspace.EXTRAPOLATION_METRICS, {"observed_step": 6, "controls": ["step_000012-random"]})
    with pytest.raises(InputError, match="step_000012-random"):
        load_contestants()
    write_json(workspace.EXTRAPOLATION_METRICS, {"observed_step": 6, "controls": "random"})
    with pytest.raises(InputError, match="not names of controls"):
        load_contestants()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"extrapolate.controls": ["random", "random"]}, "must be distinct"),
        ({"extrapolate.controls": ["last"]}, "first-update"),
        ({"extrapolate.variants": [{"name": "random", "rank": 2}]}, "name of a control"),
    ],
)
def test_controls_that_cannot_be_are_refused(project: Path, changes: dict[str, object], said: str) -> None:
    with pytest.raises(InputErrors, match=said):
        write_params(project, {**SECTION, **changes})


def test_controls_count_among_what_is_written(project: Path) -> None:
    variants = [{"name": "soup", "soup": [14, 30]}]
    params = write_params(project, {**SECTION, "extrapolate.controls": KINDS, "extrapolate.variants": variants})
    extrapolate.run(params.extrapolate)
    assert params.extrapolate.target_count == len(list(workspace.CANDIDATES.glob("step_*"))) == 2 + 1 + 6
