"""What a killed DVC leaves is put right by the next night."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from flows.killed_dvc import keep_lock, mend, on_its_branch
from tests.builders import ROOT

GIT = ["git", "-c", "user.name=test", "-c", "user.email=test@example.com"]


def git(*arguments: str) -> str:
    return subprocess.run([*GIT, *arguments], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".relex").mkdir()
    git("init", "--quiet", "--initial-branch", "work")
    (tmp_path / ".gitignore").write_text("/.relex/\n")
    (tmp_path / "params.yaml").write_text("a: 1\n")
    git("add", ".")
    git("commit", "--quiet", "--message", "a clone")
    (tmp_path / "params.yaml").write_text("a: 2\n")
    return tmp_path


def save_as_dvc_does() -> None:
    """A commit of the work tree on a detached HEAD, then back: what `dvc exp save` does to the repository."""
    git("checkout", "--quiet", "--detach")
    git("add", "--all")
    git("commit", "--quiet", "--message", "a night")


@pytest.mark.parametrize("moment", ["detached", "staged", "committed"])
def test_a_save_that_is_killed_leaves_branch_index_and_work_tree_as_they_were(repository, moment):
    commit = git("rev-parse", "work")
    child = os.fork()
    if child == 0:
        with on_its_branch():
            git("checkout", "--quiet", "--detach")
            if moment != "detached":
                git("add", "--all")
            if moment == "committed":
                git("commit", "--quiet", "--message", "a night")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert subprocess.run(["git", "symbolic-ref", "--quiet", "HEAD"], check=False).returncode == 1
    assert any("back on refs/heads/work" in said for said in mend())
    assert git("symbolic-ref", "HEAD") == "refs/heads/work"
    assert git("rev-parse", "HEAD") == commit
    assert git("status", "--short") == "M params.yaml"  # changed, and not staged
    assert mend() == []


def test_a_save_that_fails_is_put_back_at_once(repository):
    with pytest.raises(RuntimeError), on_its_branch():
        save_as_dvc_does()
        raise RuntimeError
    assert git("symbolic-ref", "HEAD") == "refs/heads/work"
    assert mend() == []


def test_where_somebody_has_moved_on_since_nothing_is_put_back(repository):
    child = os.fork()
    if child == 0:
        with on_its_branch():
            save_as_dvc_does()
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    git("checkout", "--quiet", "-B", "other")
    git("add", "--all")
    assert mend() == []
    assert git("symbolic-ref", "HEAD") == "refs/heads/other"


def test_a_head_that_its_user_has_detached_stays_so(repository):
    git("checkout", "--quiet", "--detach")
    with on_its_branch():
        pass
    assert subprocess.run(["git", "symbolic-ref", "--quiet", "HEAD"], check=False).returncode == 1


def test_a_torn_lock_is_again_as_the_last_command_left_it(repository):
    shutil.copy(ROOT / "dvc.lock", "dvc.lock")
    whole = Path("dvc.lock").read_bytes()
    keep_lock()
    mended = 0
    for size in range(0, len(whole), 997):
        Path("dvc.lock").write_bytes(whole[:size])
        mended += bool(mend())
        # What stays is a whole lock of fewer stages: the others run again.
        assert mend() == []
    assert mended > 3
    assert Path("dvc.lock").stat().st_size > 0


def test_a_torn_lock_is_never_what_is_remembered(repository):
    shutil.copy(ROOT / "dvc.lock", "dvc.lock")
    whole = Path("dvc.lock").read_bytes()
    keep_lock()
    Path("dvc.lock").write_bytes(whole[:-20])
    keep_lock()
    mend()
    assert Path("dvc.lock").read_bytes() == whole


def test_a_torn_lock_that_nothing_is_remembered_of_is_put_aside_and_not_lost(repository):
    torn = (ROOT / "dvc.lock").read_bytes()[:1500]
    Path("dvc.lock").write_bytes(torn)
    assert ".relex/dvc.lock.torn" in "".join(mend())
    assert not Path("dvc.lock").exists()
    assert Path(".relex/dvc.lock.torn").read_bytes() == torn


@pytest.mark.parametrize(
    "facts",
    ["etag: '0x8D'\n      size: 3", "hash: etag\n      etag: abc", "repo:\n        url: x\n        rev_lock: y"],
)
def test_a_lock_with_what_dvc_does_not_hash_itself_is_left_alone(repository, facts):
    text = f"schema: '2.0'\nstages:\n  own:\n    cmd: x\n    deps:\n    - path: s3://bucket/x\n      {facts}\n"
    Path("dvc.lock").write_text(text)
    assert mend() == []
    assert Path("dvc.lock").read_text() == text


@pytest.mark.parametrize("text", ["", '{"read": {"a'])
def test_dvcs_own_lock_file_that_is_torn_goes_and_a_whole_one_stays(repository, text):
    path = Path(".dvc/tmp/rwlock")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert any("rwlock" in said for said in mend())
    assert not path.exists()
    path.write_text('{"read": {}, "write": {}}')
    assert mend() == []
    assert path.exists()
