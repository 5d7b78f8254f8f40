"""Keeping a night as a ref of DVC's, which leaves the machine with the next push."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows import save
from relex.core import hop

pytestmark = pytest.mark.real

SECRETS = {"uri": "plant-uri-5c", "query": "plant-query-5c", "FOO_API_KEY": "plant-variable-5c"}
PARAMS = f"""registry:
  tracking_uri: http://user:{SECRETS["uri"]}@host:5000/?token={SECRETS["query"]}
  experiment: {SECRETS["FOO_API_KEY"]}
  model: sort-digits
"""


def run(*command: str, folder: Path = Path()) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def objects(repository: Path) -> bytes:
    """Everything that a Git repository holds, referred to or not."""
    command = ["git", "cat-file", "--batch-all-objects", "--batch"]
    return subprocess.run(command, cwd=repository, capture_output=True, check=True).stdout


@pytest.fixture
def night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished night in a Git and DVC project whose params.yaml gained credentials after its commit."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "test")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "test@example.com")
    monkeypatch.setenv("FOO_API_KEY", SECRETS["FOO_API_KEY"])
    run("git", "init", "-q")
    run("dvc", "init", "-q")
    Path("dvc.yaml").write_text("stages:\n  one:\n    cmd: echo 1 > out\n    outs: [out]\n")
    Path("params.yaml").write_text("registry: {}\n")
    Path(".gitignore").write_text("/.relex\n/out\n")
    run("git", "add", "-A")
    run("git", "commit", "-qm", "a clone")
    run("dvc", "repro", "-q")
    Path("params.yaml").write_text(PARAMS)
    hop.write(hop.Hop())
    Path("metrics").mkdir()
    Path("metrics/decision.json").write_text('{"promote": false}\n')
    Path(".relex").mkdir()
    return folder


def test_a_kept_night_holds_no_credentials_and_nothing_else_is_changed_in_it(
    night: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert save.main() == 0
    said = capfd.readouterr().out
    refs = run("git", "for-each-ref", "refs/exps", "--format=%(refname)").split()
    (ref,) = [ref for ref in refs if "/night-" in ref]
    name = ref.rpartition("/")[2]
    assert f"credentials in params.yaml are hidden in {name}" in said
    kept = run("git", "show", f"{ref}:params.yaml")
    assert kept == PARAMS.replace("user:plant-uri-5c@", "***@").replace("plant-query-5c", "***").replace(
        "plant-variable-5c", "(hidden)"
    )
    assert run("git", "show", f"{ref}:metrics/decision.json") == '{"promote": false}\n'
    assert run("git", "rev-parse", f"{ref}^") == run("git", "rev-parse", "HEAD")
    assert Path("params.yaml").read_text() == PARAMS
    run("dvc", "exp", "apply", name)
    assert Path("params.yaml").read_text() == kept


def test_a_night_that_dvc_pushes_by_itself_leaves_without_credentials(
    night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("git", "init", "-q", "--bare", str(tmp_path / "origin"))
    run("git", "remote", "add", "origin", str(tmp_path / "origin"))
    run("git", "push", "-q", "origin", "HEAD")
    run("dvc", "remote", "add", "-q", "--local", "-d", "store", str(tmp_path / "store"))
    monkeypatch.setenv("DVC_EXP_AUTO_PUSH", "true")
    assert save.main() == 0
    assert "refs/exps/" in run("git", "for-each-ref", folder=tmp_path / "origin")
    left = objects(tmp_path / "origin")
    assert b"sort-digits" in left
    assert [secret for secret in SECRETS.values() if secret.encode() in left] == []
    files = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert files
    assert [path for path in files for secret in SECRETS.values() if secret.encode() in path.read_bytes()] == []
