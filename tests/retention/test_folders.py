"""Only folders that this project made are named, and none is ever found half removed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from flows.study.regimes import label_of
from relex.core.atomic import remove_leftovers
from relex.core.errors import Busy
from relex.core.owner import temporary_name
from relex.core.workspace import NIGHT_LOCK
from relex.params.load import load
from relex.retention import folders
from relex.retention.prune import prune
from tests.builders import ROOT


def put(path: Path, text: str = "12345") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_studies_are_known_by_their_names_and_inputs_and_other_folders_are_nobodys_to_remove(tmp_path):
    regime = label_of("as params.yaml has it", 0)
    for name in ("seed-0", "seed-1-true", "campaign-0", "campaign-0-true", "campaign-0-fine-tuned", regime, "mine"):
        for file in ("params.yaml", "hop.json"):
            put(tmp_path / "study" / name / file)
    put(tmp_path / "study/seed-2/notes.txt")
    put(tmp_path / ".relex/train/checkpoint-5/weights")  # what an interrupted training goes on from
    put(tmp_path / ".relex" / temporary_name("download") / "weights")  # of a command that runs
    put(tmp_path / ".relex/rows/0123456789abcdef/batch.parquet")
    found = {(folder.place, folder.path) for folder in folders.gather(tmp_path)}
    assert found == {
        ("study", "study/campaign-0-fine-tuned"),
        ("study", "study/campaign-0-true"),
        ("study", f"study/{regime}"),
        ("study", "study/seed-0"),
        ("study", "study/seed-1-true"),
        ("rows", ".relex/rows/0123456789abcdef"),
    }


def test_a_removal_that_was_killed_left_nothing_under_the_name_and_is_finished_by_the_next_sweep(tmp_path):
    put(tmp_path / ".relex/served/0123456789abcdef/model.safetensors")
    [served] = folders.gather(tmp_path)
    child = os.fork()
    if child == 0:
        shutil.rmtree = lambda path: os._exit(9)
        folders.remove(served, tmp_path)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert folders.gather(tmp_path) == ()
    assert len(list((tmp_path / ".relex/served").iterdir())) == 1
    remove_leftovers(tmp_path / ".relex", below=True)
    assert list((tmp_path / ".relex/served").iterdir()) == []


def test_nothing_is_pruned_while_a_night_holds_the_lock(tmp_path, monkeypatch):
    from filelock import FileLock

    monkeypatch.chdir(tmp_path)
    NIGHT_LOCK.parent.mkdir()
    with FileLock(NIGHT_LOCK), pytest.raises(Busy, match="another night is running"):
        prune(load(ROOT / "params.yaml"), yes=True)
