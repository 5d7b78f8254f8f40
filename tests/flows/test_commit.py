"""What nights write themselves is committed, and nobody's own changes go along."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from flows import commit
from relex.core import hop
from relex.core.hop import Hop
from relex.ledger import lines as ledger
from relex.nights.present import campaign_of
from relex.params.load import load
from relex.registry.store.facts import git_state
from tests.builders import ROOT
from tests.nights.rows import hop_row, model


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository in which a hop has just ended; somebody is at work in it too."""
    monkeypatch.chdir(tmp_path)
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "test")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "test@example.com")
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    (tmp_path / ".gitignore").write_text("/.relex\n")
    for name in ("code.py", "staged.py", "dvc.lock"):
        (tmp_path / name).write_text("before\n")
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics/old.json").write_text("{}\n")
    hop.write(Hop())
    (tmp_path / ".relex").mkdir()
    git("init", "-q", "-b", "work")
    git("add", "-A")
    git("commit", "-qm", "a clone")
    hop.write(Hop(hop=2))
    ledger.append(hop_row(Hop(), accepted=True, champion=model(4)))
    (tmp_path / "dvc.lock").write_text("after\n")
    (tmp_path / "metrics/old.json").unlink()
    (tmp_path / "metrics/new.json").write_text("{}\n")
    return tmp_path


def test_a_hop_s_own_files_are_committed_and_the_tree_is_clean(project: Path) -> None:
    assert git_state()["dirty"] is False  # what nights write is nobody's change
    assert "on work, Night 1, hop 1: version 4, step 600" in commit.commit()
    assert git("status", "--porcelain") == ""
    assert git("show", "--name-status", "--no-renames", "--format=").split() == [
        *("M", "dvc.lock", "M", "hop.json", "A", "ledger.csv", "A", "ledger.jsonl"),
        *("A", "metrics/new.json", "D", "metrics/old.json"),
    ]
    assert "so it is" in git("log", "-1", "--format=%B")
    assert git("rev-list", "--count", "HEAD") == "2"
    assert "nothing" in commit.commit()


def test_what_a_night_killed_after_its_hop_left_uncommitted_is_told_from_what_is_somebody_s_own(project: Path) -> None:
    of = campaign_of(load(project / "params.yaml"))
    hop.write(Hop(hop=2, of=of))
    assert not commit.forgotten()  # that hop has no line yet: its own commit comes at its end
    hop.write(Hop(of=of))
    assert commit.forgotten()
    commit.commit()
    assert not commit.forgotten()
    (project / "dvc.lock").write_text("by hand\n")
    assert not commit.forgotten()


def test_changes_of_somebody_s_own_stay_as_they_were_staged_or_not(project: Path) -> None:
    (project / "code.py").write_text("mine\n")
    (project / "staged.py").write_text("mine too\n")
    (project / "new.py").write_text("new\n")
    git("add", "staged.py")
    assert git_state()["dirty"] is True
    commit.commit()
    assert git("status", "--porcelain").splitlines() == ["M code.py", "M  staged.py", "?? new.py"]
    assert git("show", "HEAD:code.py") == git("show", "HEAD:staged.py") == "before"
    assert git("diff", "--cached", "--name-only") == "staged.py"


def test_a_kill_between_the_commit_and_the_index_is_mended_by_the_next_call(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = commit._run
    with monkeypatch.context() as patch:
        patch.setattr(commit, "_run", lambda *words, **more: 1 / 0 if words[0] == "reset" else run(*words, **more))
        with pytest.raises(ZeroDivisionError):
            commit.commit()
    assert git("status", "--porcelain") != ""
    assert "nothing" in commit.commit()
    assert git("status", "--porcelain") == ""


@pytest.mark.parametrize("state", ["detached", "merging", "off", "no repository"])
def test_where_a_commit_is_not_wanted_nothing_is_touched(
    project: Path, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, before = git("rev-parse", "HEAD"), git("status", "--porcelain")
    if state == "detached":
        git("checkout", "-q", "--detach")
    elif state == "merging":
        (project / ".git/MERGE_HEAD").write_text(head + "\n")
    elif state == "off":
        text = (project / "params.yaml").read_text()
        (project / "params.yaml").write_text(text.replace("commit: true", "commit: false"))
        before = git("status", "--porcelain")
    else:
        elsewhere = project.parent / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "params.yaml").write_text((project / "params.yaml").read_text())
        monkeypatch.chdir(elsewhere)
        assert "no Git work tree" in commit.commit()
        monkeypatch.chdir(project)
    if state != "no repository":
        assert "left" in commit.commit()
    assert git("rev-parse", "HEAD") == head
    assert git("status", "--porcelain") == before
