"""Links to what lies outside the project, and DVC, which follows them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from relex.core.inputs import follow_files, follow_folder
from relex.core.workspace import INPUT_BASE, INPUT_NONE, INPUT_PROBLEMS


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with inputs/ as it is under version control."""
    folder = tmp_path / "project"
    (folder / INPUT_NONE).mkdir(parents=True)
    (folder / INPUT_BASE).symlink_to("none")
    monkeypatch.chdir(folder)
    return folder


def test_a_link_leads_to_the_folder_and_back_to_nothing(project: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    follow_folder(tmp_path / "model")
    assert os.readlink(INPUT_BASE) == str(tmp_path / "model")
    follow_folder(None)
    assert os.readlink(INPUT_BASE) == "none"
    assert {path.name for path in INPUT_BASE.parent.iterdir()} == {"base", "none"}


def test_nothing_is_a_folder_too_where_inputs_is_not_there_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    follow_folder(None)
    assert INPUT_BASE.is_dir()


def test_a_path_inside_the_project_is_the_same_link_in_every_checkout(project: Path) -> None:
    Path("mine/model").mkdir(parents=True)
    follow_folder(Path("mine/model"))
    assert os.readlink(INPUT_BASE) == "../mine/model"
    assert INPUT_BASE.resolve() == project / "mine/model"


def test_files_are_linked_in_order_and_those_of_before_are_not(project: Path, tmp_path: Path) -> None:
    for name in ("a/rows.jsonl", "b/rows.jsonl", "set/x.parquet", "set/more/y.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    INPUT_PROBLEMS.mkdir()
    (INPUT_PROBLEMS / ".gitignore").write_text("*\n")
    follow_files([tmp_path / "a/rows.jsonl", tmp_path / "b/rows.jsonl", tmp_path / "set"], INPUT_PROBLEMS)
    assert [path.read_text() for path in sorted(INPUT_PROBLEMS.glob("[0-9]*"))] == [
        "a/rows.jsonl",
        "b/rows.jsonl",
        "set/more/y.parquet",
        "set/x.parquet",
    ]
    follow_files([tmp_path / "b/rows.jsonl"], INPUT_PROBLEMS)
    (one,) = INPUT_PROBLEMS.glob("[0-9]*")
    assert one.read_text() == "b/rows.jsonl"
    assert (INPUT_PROBLEMS / ".gitignore").is_file()


@pytest.mark.real
def test_dvc_notices_a_change_behind_a_link_an_added_file_and_a_lost_one(project: Path, tmp_path: Path) -> None:
    def dvc(*command: str) -> str:
        done = subprocess.run([sys.executable, "-m", "dvc", *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    given, rows = tmp_path / "model", tmp_path / "rows.jsonl"
    given.mkdir()
    (given / "config.json").write_text("{}")
    rows.write_text("1\n")
    follow_folder(given)
    follow_files([rows], INPUT_PROBLEMS)
    dvc("init", "--no-scm", "--quiet")
    Path("dvc.yaml").write_text(
        f"stages:\n  base:\n    cmd: echo made > out\n    deps: [{INPUT_BASE}, {INPUT_PROBLEMS}]\n    outs: [out]\n"
    )
    dvc("repro", "--quiet")
    assert "up to date" in dvc("status")

    def changed() -> set[str]:
        said = dvc("status")
        return {str(path) for path in (INPUT_BASE, INPUT_PROBLEMS) if str(path) in said}

    (given / "config.json").write_text("{ }")
    assert changed() == {str(INPUT_BASE)}
    (given / "config.json").write_text("{}")
    assert changed() == set()
    (given / "generation_config.json").write_text("{}")
    assert changed() == {str(INPUT_BASE)}
    (given / "generation_config.json").unlink()
    rows.write_text("2\n")
    assert changed() == {str(INPUT_PROBLEMS)}
    (project / "out").unlink()
    rows.rename(tmp_path / "moved.jsonl")
    follow_files([tmp_path / "moved.jsonl"], INPUT_PROBLEMS)  # as a night does before it asks DVC anything
    assert changed() == {str(INPUT_PROBLEMS)}
