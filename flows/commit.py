"""Commit what nights write themselves, so that `git status` is clean after a night: `python -m flows.commit`.

Nobody's own changes go along, staged or not: the commit is made of HEAD and the nights' own files alone, and then those
files alone are taken into the index. Killed in between, the next call finishes it. Off with `nights.commit: false`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from relex.core.atomic import scratch_folder
from relex.core.workspace import LEDGER, OWN, PARAMS, STATE
from relex.ledger import lines as ledger
from relex.ledger.lines import HopRow
from relex.nights.present import unfinished
from relex.params.load import load

_BUSY = ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "rebase-merge", "rebase-apply", "BISECT_LOG")


def main() -> int:
    """Commit the nights' own files where they changed; 0."""
    print(f"commit: {commit()}")
    return 0


def forgotten() -> bool:
    """Whether a hop has ended whose line in the ledger is not committed: its night was killed before that."""
    params = load(PARAMS)
    if not params.nights.commit or not LEDGER.exists() or unfinished(params):
        return False
    return bool(_git("status", "--porcelain", "--", LEDGER.as_posix()))


def commit() -> str:
    """What was done."""
    if not load(PARAMS).nights.commit:
        return "left to you (nights.commit: false)"
    if _git("rev-parse", "--is-inside-work-tree") != "true":
        return "no Git work tree here"
    branch, head = _git("symbolic-ref", "--quiet", "HEAD"), _git("rev-parse", "--quiet", "--verify", "HEAD")
    if branch is None or head is None:
        return "HEAD is on no branch with a commit: left as it is"
    if busy := [name for name in _BUSY if Path(_git("rev-parse", "--git-path", name) or name).exists()]:
        return f"Git is in the middle of something ({', '.join(busy)}): left as it is"
    own = [path.as_posix() for path in OWN if path.exists() or _git("ls-files", "--", path.as_posix())]
    with scratch_folder(STATE, "commit") as folder:
        index = {"GIT_INDEX_FILE": str((folder / "index").absolute())}
        _run("read-tree", head, variables=index)
        _run("add", "--all", "--", *own, variables=index)
        tree = _run("write-tree", variables=index)
    if tree == _run("rev-parse", f"{head}^{{tree}}"):
        _run("reset", "--quiet", "--", *own)
        return "nothing of the nights' own has changed"
    made = _run("commit-tree", tree, "-p", head, text=_message())
    _run("update-ref", "-m", "relex: a night's own files", branch, made, head)
    _run("reset", "--quiet", "--", *own)
    return f"{made[:12]} on {branch.removeprefix('refs/heads/')}, {_message().splitlines()[0]}"


def _message() -> str:
    hops = [row for row in ledger.read().rows if isinstance(row, HopRow)]
    if not hops:
        return "A night's own files"
    row = hops[-1]
    came = f"version {row.model.version}, step {row.step}" if row.accepted and row.model else row.outcome
    return f"Night {row.night}, hop {row.hop}: {came}\n\n{row.sentence}\n"


def _git(*arguments: str) -> str | None:
    """What a Git command prints, None where it says no."""
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def _run(*arguments: str, text: str | None = None, variables: dict[str, str] | None = None) -> str:
    """What a Git command prints, that must succeed."""
    done = subprocess.run(
        ["git", *arguments],
        env={**os.environ, **(variables or {})},
        input=text,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
