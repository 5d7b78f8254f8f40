"""What a state or a row belongs to: the code of the rooms named, and of no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from relex.core import code
from relex.stages.train import state


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (
        "rewards/score.py",
        "rewards/inner/units.py",
        "registry/promotion.py",
        "stages/evaluate/answering.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"# {name}\n")
    monkeypatch.setattr(code, "PACKAGE", tmp_path)
    return tmp_path


def test_the_hash_follows_names_and_bytes_of_what_is_named(package: Path) -> None:
    places = ("rewards", "stages/evaluate/answering.py")
    before = code.code_sha256(places)
    (package / "registry/promotion.py").write_text("# another sentence\n")
    (package / "rewards/notes.txt").write_text("not code")
    assert code.code_sha256(places) == before
    (package / "rewards/inner/units.py").write_text("# changed\n")
    assert code.code_sha256(places) != before
    (package / "rewards/inner/units.py").write_text("# rewards/inner/units.py\n")
    assert code.code_sha256(places) == before
    (package / "rewards/inner/units.py").rename(package / "rewards/units.py")
    assert code.code_sha256(places) != before


@pytest.mark.parametrize("gone", ["policy", "stages/evaluate/engine.py"])
def test_a_place_that_was_moved_does_not_silently_stop_counting(package: Path, gone: str) -> None:
    (package / "policy").mkdir()
    with pytest.raises(FileNotFoundError):
        code.code_sha256(["rewards", gone])


def test_a_training_state_outlives_a_change_of_the_registry_but_not_of_the_forecast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for room in (*state._CODE, "registry"):
        (tmp_path / room).mkdir(parents=True, exist_ok=True)
        (tmp_path / room / "module.py").write_text("x = 1\n")
    monkeypatch.setattr(code, "PACKAGE", tmp_path)
    before = state.stamp({}, 1)
    (tmp_path / "registry/module.py").write_text('x = "another sentence"\n')
    assert state.stamp({}, 1) == before
    (tmp_path / "forecast/module.py").write_text("x = 2\n")
    assert state.stamp({}, 1) != before
