"""Keep the night: its inputs and small outputs as a Git ref of DVC's, its artifacts in the DVC remote if there is one.

    python -m flows.save

The branch is left alone. `dvc exp list --all-commits` shows the kept nights, `dvc exp apply NAME` brings one back.
A ref is made to be pushed: credentials in params.yaml are hidden in it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from flows.dvc_command import DVC, forked_where_possible
from flows.killed_dvc import on_its_branch
from flows.process import environment
from relex.core import hop
from relex.core.atomic import scratch_folder, write_text
from relex.core.digest import file_sha256, json_sha256
from relex.core.workspace import DVC_LOCK, HISTORY, HOP, LEDGER, LEDGER_TABLE, METRICS, PARAMS, STATE
from relex.params.redact import redact

_SAVED = STATE / "saved"
_AUTO_PUSH = "DVC_EXP_AUTO_PUSH"


def main() -> int:
    """Save the present hop unless it is saved already as it is; DVC's exit code."""
    files = [DVC_LOCK, Path("dvc.yaml"), PARAMS, HOP, *sorted(METRICS.glob("*"))]
    files += [path for path in [HISTORY, LEDGER, LEDGER_TABLE] if path.exists()]
    name = hop.read().name
    kept = f"{name} {json_sha256({path.as_posix(): file_sha256(path) for path in files})}"
    if _SAVED.exists() and _SAVED.read_text().strip() == kept:
        print(f"save: {name} is kept already")
        return 0
    settings = _settings()
    with on_its_branch():
        code = _keep(name, files, settings)
    if code:
        return code
    remotes = any(re.fullmatch(r"remote\..+\.url", key) for key in settings)
    if remotes:
        pushed = _dvc("push")
        if pushed:
            return pushed
    write_text(_SAVED, kept + "\n")
    print(f"save: kept as {name}" + (", pushed" if remotes else ", no DVC remote is configured: not pushed"))
    return 0


def _settings() -> dict[str, str]:
    """DVC's settings, of all its files, by `section.option` or `remote.NAME.option`."""
    return dict(line.partition("=")[::2] for line in _said(DVC, "config", "--list").splitlines())


def _keep(name: str, files: Sequence[Path], settings: Mapping[str, str]) -> int:
    """Make the ref, without credentials, and push it where DVC is set up to; DVC's exit code."""
    command = ["exp", "save", "--force", "--name", name]
    for path in files:  # on a first night some of them are not under version control yet
        command += ["--include-untracked", path.as_posix()]
    code = _dvc(*command, variables={_AUTO_PUSH: "false"})  # not before it was looked through
    if code:
        return code
    head = _said("git", "rev-parse", "HEAD")
    hidden = hide_secrets(f"refs/exps/{head[:2]}/{head[2:]}/{name}", files)
    if hidden:
        print(
            f"save: credentials in {', '.join(map(str, hidden))} are hidden in {name}. Better give them as the "
            "variables MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        )
    asked = os.environ.get(_AUTO_PUSH) or settings.get("exp.auto_push", "")
    if asked.lower() not in ("1", "true", "y", "yes", "on"):
        return 0
    remote = os.environ.get("DVC_EXP_GIT_REMOTE") or settings.get("exp.git_remote", "")
    return _dvc("exp", "push", remote or "origin", name)


def hide_secrets(ref: str, files: Sequence[Path]) -> list[Path]:
    """Replace a ref's commit by one whose `files` hold no secret; the files that held one."""
    commit, inside = _said("git", "rev-parse", ref), _said("git", "rev-parse", "--show-prefix")
    changed = {}
    for path in files:
        text = _said("git", "cat-file", "blob", f"{commit}:{inside}{path.as_posix()}", strip=False)
        if redact(text) != text:
            changed[path] = _said("git", "hash-object", "-w", "--stdin", text=redact(text))
    if not changed:
        return []
    with scratch_folder(STATE, "index") as folder:
        index = {"GIT_INDEX_FILE": str((folder / "index").absolute())}
        _said("git", "read-tree", commit, variables=index)
        for path, blob in changed.items():
            entry = f"100644,{blob},{inside}{path.as_posix()}"
            _said("git", "update-index", "--add", "--cacheinfo", entry, variables=index)
        tree = _said("git", "write-tree", variables=index)
    parents = [part for parent in _said("git", "show", "-s", "--format=%P", commit).split() for part in ("-p", parent)]
    names = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")
    people = _said("git", "show", "-s", "--format=%an%n%ae%n%cn%n%ce", commit).splitlines()
    message = _said("git", "show", "-s", "--format=%B", commit)
    variables = dict(zip(names, people, strict=True))
    clean = _said("git", "commit-tree", tree, *parents, text=message, variables=variables)
    _said("git", "update-ref", ref, clean, commit)
    return list(changed)


def _dvc(*arguments: str, variables: Mapping[str, str] | None = None) -> int:
    command = forked_where_possible([DVC, "--wait-for-lock", *arguments])
    return subprocess.run(command, env={**environment(), **(variables or {})}, check=False).returncode


def _said(
    *command: str,
    text: str | None = None,
    variables: Mapping[str, str] | None = None,
    strip: bool = True,
) -> str:
    """What a command prints, given `text`; that it fails is an error."""
    done = subprocess.run(
        forked_where_possible(command),
        env={**environment(), **(variables or {})},
        input=text,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip() if strip else done.stdout


if __name__ == "__main__":
    sys.exit(main())
