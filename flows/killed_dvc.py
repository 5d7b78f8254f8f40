"""What a DVC command that was killed leaves torn or out of place, and that DVC itself then refuses or forgets.

DVC writes dvc.lock and its own lock file in place: a kill between the first and the last byte leaves a file that it
does not read again. `dvc exp save` works on a detached HEAD with an index of its own making: a kill leaves the
repository there, off its branch. The work tree it does not touch.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError

from relex.core.atomic import new_file, new_folder, read_json, write_json
from relex.core.workspace import DVC_LOCK, STATE

_RWLOCK = Path(".dvc/tmp/rwlock")  # who reads and writes which output: nothing once its processes are gone
_KEPT = STATE / "dvc.lock"  # as the last command that ended well left it
_TORN = STATE / "dvc.lock.torn"
_PLACE = STATE / "git"  # branch, commit and index while an experiment is saved


def mend() -> list[str]:
    """Put right what a killed command left; what was done, a sentence each. Call where no other DVC command runs."""
    said = []
    if _RWLOCK.is_file() and not _is_json(_RWLOCK):
        _RWLOCK.unlink()
        said.append(f"{_RWLOCK} was torn by a killed command: removed")
    if DVC_LOCK.is_file() and not _is_lock(DVC_LOCK):
        if _KEPT.is_file():
            _copy(_KEPT, DVC_LOCK)
            said.append(f"{DVC_LOCK} was torn by a killed command: as it was before that")
        else:
            STATE.mkdir(exist_ok=True)
            os.replace(DVC_LOCK, _TORN)
            said.append(f"{DVC_LOCK} was torn by a killed command: it is {_TORN} now; the stages run again")
    if back := _put_back():
        said.append(back)
    return said


def keep_lock() -> None:
    """Remember dvc.lock after a command that ended well."""
    if not DVC_LOCK.is_file() or (_KEPT.is_file() and _KEPT.read_bytes() == DVC_LOCK.read_bytes()):
        return
    if _is_lock(DVC_LOCK):
        _copy(DVC_LOCK, _KEPT)


@contextlib.contextmanager
def on_its_branch() -> Iterator[None]:
    """Have the repository on the branch and with the index that it has now after the body, be it killed or not."""
    branch = _git("symbolic-ref", "--quiet", "HEAD")
    if branch is None:  # detached by its user: there is no branch to leave
        yield
        return
    with new_folder(_PLACE, replace=True) as folder:
        write_json(folder / "head.json", {"branch": branch, "commit": _git("rev-parse", branch)})
        index = _index()
        if index.is_file():
            shutil.copy2(index, folder / "index")  # its time tells Git which entries to look at again
    try:
        yield
    finally:
        _put_back()


def _put_back() -> str:
    """Undo what a save did to HEAD and the index; what was done. Nothing where somebody has moved on since."""
    if not _PLACE.is_dir():
        return ""
    head, said = read_json(_PLACE / "head.json"), ""
    branch = _git("symbolic-ref", "--quiet", "HEAD")
    if branch in (None, head["branch"]) and _git("rev-parse", "--quiet", "--verify", head["branch"]) == head["commit"]:
        if branch is None and head["commit"] is not None:
            _git("symbolic-ref", "-m", "relex: back on the branch", "HEAD", head["branch"])
            said = f"Git was left off its branch by a killed command: back on {head['branch']}"
        if (_PLACE / "index").is_file():
            _copy(_PLACE / "index", _index())
    shutil.rmtree(_PLACE)
    return said


def _index() -> Path:
    return Path(_git("rev-parse", "--git-path", "index") or ".git/index")


def _git(*arguments: str) -> str | None:
    """What a Git command prints, None where it says no."""
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True


def _is_lock(path: Path) -> bool:
    """Whether it is a whole dvc.lock: its last line ends, and every entry of a stage has all its facts."""
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        stages = YAML(typ="safe").load(text)["stages"]
        entries = [entry for stage in stages.values() for kind in ("deps", "outs") for entry in stage.get(kind, [])]
        return text.endswith("\n") and all(_is_whole(entry) for entry in entries)
    except (YAMLError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _is_whole(entry: Mapping[str, Any]) -> bool:
    if entry.get("hash", "md5") != "md5" or ("md5" not in entry and "hash" not in entry and len(entry) > 1):
        return True  # what DVC does not hash itself, as a bucket or a package, has facts of its own
    told = entry["path"], entry["md5"], entry["size"], entry["nfiles"] if entry["md5"].endswith(".dir") else 1
    return [type(fact) for fact in told] == [str, str, int, int]


def _copy(source: Path, target: Path) -> None:
    with new_file(target) as temporary:
        shutil.copy2(source, temporary)
