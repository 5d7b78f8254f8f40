"""Only folders that this project made are named, and none is ever found half removed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from relex.core.errors import Busy
from relex.core.workspace import NIGHT_LOCK
from relex.params.load import load
from relex.retention import folders
from relex.retention.prune import prune
from tests.builders import ROOT


def put(path: Path, text: str = "12345") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_studies_are_known_by_their_names_and_inputs_and_other_folders_are_nobodys_to_remove(tmp_path):
    for name in ("seed-0", "seed-1-true", "mine"):
        for file in ("params.yaml", "champion.json"):
            put(tmp_path / "study" / name / file)
    put(tmp_path / "study/seed-2/notes.txt")
    put(tmp_path / ".relex/train/checkpoint-5/weights")  # what an interrupted training goes on from
    put(tmp_path / ".relex/upload-x/weights")
    put(tmp_path / ".relex/rows/0123456789abcdef/batch.parquet")
    found = {(folder.place, folder.path) for folder in folders.gather(tmp_path)}
    assert found == {
        ("study", "study/seed-0"),
        ("study", "study/seed-1-true"),
        ("leftovers", ".relex/upload-x"),
        ("rows", ".relex/rows/0123456789abcdef"),
    }


def test_a_removal_that_was_killed_left_nothing_under_the_name_and_is_finished_by_the_next_call(tmp_path, monkeypatch):
    put(tmp_path / ".relex/served/0123456789abcdef/model.safetensors")
    [served] = folders.gather(tmp_path)

    def killed(path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shutil, "rmtree", killed)
        folders.remove(served, tmp_path)
    [left] = folders.gather(tmp_path)
    assert (left.place, left.size, left.used) == ("leftovers", 5, 0.0)  # of an age that lets it go at once
    folders.remove(left, tmp_path)
    assert list((tmp_path / ".relex/served").iterdir()) == []


def test_nothing_is_pruned_while_a_night_holds_the_lock(tmp_path, monkeypatch):
    from filelock import FileLock

    monkeypatch.chdir(tmp_path)
    NIGHT_LOCK.parent.mkdir()
    with FileLock(NIGHT_LOCK), pytest.raises(Busy, match="a night is running"):
        prune(load(ROOT / "params.yaml"), yes=True)
