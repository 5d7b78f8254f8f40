"""extrapolate.write: winner: recipes and shared directions in the place of candidates' weights."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import numpy as np
import pytest

from relex.checkpoints.digest import speech_sha256, weights_sha256
from relex.checkpoints.directions import DIRECTIONS
from relex.checkpoints.formed import Formed
from relex.checkpoints.recipe import has_recipe, read_recipe
from relex.core import workspace
from relex.core.atomic import read_json
from relex.core.digest import folder_sha256
from relex.core.errors import CorruptArtifact, InputError
from relex.stages.evaluate.contestants import load_contestants
from relex.stages.extrapolate import stage as extrapolate
from tests.builders.contests import set_champion, write_params
from tests.builders.nights import make_project
from tests.builders.windows import base_tensors, line_with_noise, write_trajectory

SECTION = {
    "train.budget.steps": 6,
    "train.warmup_steps": 1,
    "train.window": {"first": 1, "last": 6, "every": 1},
    "extrapolate.targets": [12, 24, 36, 48, 240],
    "extrapolate.rays": "named",
    "extrapolate.variants": [{"name": "late", "anchor": "last", "rank": "full", "first": 4}],
    "extrapolate.device": "cpu",
}
TARGETS = [f"step_{target:06d}" for target in SECTION["extrapolate.targets"]]
ALL = sorted(TARGETS + [f"{name}-late" for name in TARGETS])


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    steps = [1, 2, 3, 4, 5, 6]
    write_trajectory(
        tmp_path / "trajectory", tmp_path / "base", steps, line_with_noise(seed=1, rate=1e-3), rewards=True
    )
    return tmp_path


def run(project: Path, **changes) -> None:
    extrapolate.run(write_params(project, {**SECTION, **changes}).extrapolate)


def weights(folder: Path) -> int:
    """Bytes of the weights in a folder."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def candidates() -> list[str]:
    return sorted(path.name for path in workspace.CANDIDATES.glob("step_*"))


def test_each_is_what_its_file_would_be_to_a_few_units_of_float32(project: Path) -> None:
    run(project)
    assert candidates() == ALL
    files = {name: base_tensors(workspace.CANDIDATES / name) for name in ALL}
    speech = {name: speech_sha256(workspace.CANDIDATES / name) for name in ALL}
    size = sum(weights(workspace.CANDIDATES / name) for name in ALL)
    start = base_tensors(Path("base"))
    run(project, **{"extrapolate.write": "winner"})
    assert candidates() == ALL
    assert not list(workspace.CANDIDATES.glob("step_*/*.safetensors"))
    # Three directions, one of the line and two of the other ray, for ten checkpoints.
    kept = weights(workspace.CANDIDATES / DIRECTIONS)
    assert kept < 0.31 * size
    for name in ALL:
        assert speech_sha256(workspace.CANDIDATES / name) == speech[name]
        with Formed(workspace.CANDIDATES / name, Path("base")) as formed:
            for tensor, found in formed.tensors():
                exact, theta = files[name][tensor].double(), start[tensor].double()
                far = float((exact - theta).norm())
                assert float((found.double() - exact).norm()) <= 1e-6 * far + 6e-8 * float(exact.norm()), (name, tensor)
    fit = read_json(workspace.CANDIDATES / "fit.json")
    assert set(fit["candidates"]) == set(ALL)
    assert fit["formed"] == {ray: SECTION["extrapolate.targets"] for ray in ("step", "step-late")}


def test_again_it_is_the_same_bytes_and_the_other_way_nothing_is_left(project: Path) -> None:
    run(project, **{"extrapolate.write": "winner"})
    before = folder_sha256(workspace.CANDIDATES)
    run(project, **{"extrapolate.write": "winner"})
    assert folder_sha256(workspace.CANDIDATES) == before
    run(project)
    assert not (workspace.CANDIDATES / DIRECTIONS).exists()
    assert not list(workspace.CANDIDATES.glob("step_*/recipe.json"))
    assert "formed" not in read_json(workspace.CANDIDATES / "fit.json")


def test_what_takes_no_less_becomes_files(project: Path) -> None:
    """A ray of one target, a soup, random directions; the others stay formed."""
    variants = [*SECTION["extrapolate.variants"], {"name": "soup", "soup": [10, 30]}]
    changes = {"extrapolate.variants": variants, "extrapolate.controls": ["first-update", "random"]}
    run(project, **changes)
    files = {name: weights_sha256(workspace.CANDIDATES / name) for name in candidates()}
    run(project, **changes, **{"extrapolate.write": "winner"})
    formed = {name for name in candidates() if has_recipe(workspace.CANDIDATES / name)}
    written = set(candidates()) - formed
    assert formed == {name for name in candidates() if not name.endswith(("-soup", "-random"))}
    assert {name: weights_sha256(workspace.CANDIDATES / name) for name in written} == {
        name: files[name] for name in written
    }
    run(project, **{"extrapolate.targets": [12], "extrapolate.write": "winner", "extrapolate.variants": []})
    assert [has_recipe(workspace.CANDIDATES / name) for name in candidates()] == [False]


def test_a_window_in_which_nothing_moves_gives_files_of_the_base(project: Path) -> None:
    write_trajectory(
        project / "still", project / "base", [1, 2, 3, 4, 5, 6], lambda step, name, theta: theta * 0.0, rewards=True
    )
    (project / "trajectory").rename(project / "gone")
    (project / "still").rename(project / "trajectory")
    run(project, **{"extrapolate.write": "winner"})
    assert {weights_sha256(workspace.CANDIDATES / name) for name in candidates()} == {weights_sha256(Path("base"))}


def test_they_are_contestants_each_with_an_identity_of_its_own(project: Path) -> None:
    run(project, **{"extrapolate.write": "winner", "extrapolate.controls": ["first-update"]})
    set_champion(None)
    found = {one.name: one for one in load_contestants() if one.kind == "candidate"}
    assert len(found) == len({one.model_sha256 for one in found.values()}) == 15
    assert all(one.origin and one.origin.name == "base" for one in found.values())
    assert found["step_000012"].weights_sha256 == read_recipe(workspace.CANDIDATES / "step_000012").sha256
    assert {name for name, one in found.items() if one.control} == {f"{name}-first-update" for name in TARGETS}


def test_damaged_directions_and_another_base_are_told(project: Path) -> None:
    run(project, **{"extrapolate.write": "winner"})
    set_champion(None)
    path = workspace.CANDIDATES / DIRECTIONS / "step-late.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(CorruptArtifact, match=r"step-late\.safetensors: wrong hash"):
        load_contestants()
    path.write_bytes(data[:-4])
    with pytest.raises(CorruptArtifact, match=r"step-late\.safetensors: (wrong hash|truncated)"):
        load_contestants()
    path.unlink()
    with pytest.raises(InputError, match=r"step-late\.safetensors: the file is missing"):
        load_contestants()
    path.write_bytes(data)
    base = Path("base/model.safetensors")
    turned = bytearray(base.read_bytes())
    turned[-1] ^= 1
    base.write_bytes(turned)
    with pytest.raises(CorruptArtifact, match="the recipe is of another base"):
        load_contestants()


def test_a_full_disk_leaves_the_candidates_that_were_there(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(project)
    before = folder_sha256(workspace.CANDIDATES)
    usual, limit = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (weights(Path("base")) // 2, limit[1]))
    try:
        with pytest.raises(InputError, match=r"candidates: cannot write the directions; found File too large"):
            run(project, **{"extrapolate.write": "winner"})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, usual)
    assert folder_sha256(workspace.CANDIDATES) == before
    assert not list(Path().glob(".*candidates*"))


def test_a_damaged_step_is_found_though_no_candidate_is_written(project: Path) -> None:
    run(project, **{"extrapolate.write": "winner"})
    path = Path("trajectory/steps/000006.safetensors")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptArtifact, match=r"000006\.safetensors"):
        run(project, **{"extrapolate.write": "winner"})


def test_the_disk_is_planned_as_it_is_taken(project: Path) -> None:
    changes = {"extrapolate.write": "winner", "extrapolate.controls": ["first-update", "mean-update"]}
    run(project, **changes)
    section = write_params(project, {**SECTION, **changes}).extrapolate
    start = base_tensors(Path("base"))
    parameters = sum(int(np.prod(tensor.shape)) for tensor in start.values())
    size = weights(Path("base"))
    taken = weights(workspace.CANDIDATES / DIRECTIONS) + size  # with the winner's file
    assert section.candidate_bytes(size, parameters) == pytest.approx(taken, rel=0.02)  # headers, norms of one ray
