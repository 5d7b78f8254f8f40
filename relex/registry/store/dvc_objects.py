"""Getting an artifact out of DVC by its hash alone, whatever the work tree and dvc.lock say now."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from relex.core.atomic import scratch_folder
from relex.core.errors import CorruptArtifact, InputError
from relex.core.workspace import STATE
from relex.registry.store import dvc_hashes

if TYPE_CHECKING:
    from dvc.repo import Repo


def get(md5: str, out: Path) -> None:
    """Put the file or folder that DVC knows as `md5` (a folder's ends in .dir) at `out`, which must not exist.

    It comes from the project's DVC cache, else from its default remote. The files are copies (or reflinks), so that
    nothing done to them reaches the cache. They are hashed before they are handed out: DVC takes what lies read-only in
    its cache as sound. InputError when neither has it, or this is no DVC project; CorruptArtifact for other bytes.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    project = _project()
    # A repository of its own: it shares the project's cache and remotes, and nothing of its work tree.
    with project, scratch_folder(STATE, "dvc") as temporary:
        with Repo.init(str(temporary), no_scm=True) as scratch, scratch.config.edit("local") as config:
            config["cache"] = {"dir": str(Path(project.cache.local.path).parents[1]), "type": ["reflink", "copy"]}
            config["remote"] = {
                name: {key: str(value) if isinstance(value, str) else value for key, value in remote.items()}
                for name, remote in project.config["remote"].items()
            }
            if name := project.config["core"].get("remote"):
                config["core"] = {"remote": name}
        (temporary / "object.dvc").write_text(f"outs:\n- md5: {md5}\n  hash: md5\n  path: object\n")
        with Repo(str(temporary)) as scratch:
            for attempt in (scratch.checkout, scratch.pull):
                with contextlib.suppress(DvcException, OSError):
                    attempt(targets=[str(temporary.absolute() / "object.dvc")])
                    break
        made = temporary / "object"
        if not made.exists():
            raise InputError(
                "DVC has this artifact neither in its cache nor in its remote",
                where=f"md5 {md5}",
                todo="run where it was made, or `dvc push` there and configure the same remote here",
            )
        _check(made, md5, Path(project.cache.local.path))
        out.parent.mkdir(parents=True, exist_ok=True)
        made.rename(out)


def is_cached(md5: str) -> bool:
    """Whether the project's cache lists the folder with this hash and has all its files; their bytes are not read."""
    cache = cache_folder()
    listed = dvc_hashes.read_listing(md5, cache)
    return listed is not None and all(dvc_hashes.object_path(one, cache).is_file() for one in listed.values())


def cache_folder() -> Path:
    """Where the project's DVC cache keeps its objects; InputError outside a DVC project."""
    with _project() as project:
        return Path(project.cache.local.path)


def _project() -> Repo:
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.CRITICAL)
    try:
        return Repo(".")
    except NotDvcRepoError:
        raise InputError("not a DVC project", where=Path.cwd(), todo="run in the project's root") from None


def _check(made: Path, md5: str, cache: Path) -> None:
    found = dvc_hashes.md5_of(made)
    if found == md5:
        return
    where, expected = dvc_hashes.object_path(md5, cache), md5
    listed = dvc_hashes.read_listing(md5, cache)
    if listed is not None:
        present = dvc_hashes.files_below(made)
        name = next(name for name in sorted(listed.keys() | present.keys()) if listed.get(name) != present.get(name))
        found, expected = present.get(name, "no such file"), listed.get(name, "no such file")
        where = dvc_hashes.object_path(expected, cache) if name in listed else where
    raise CorruptArtifact(
        "DVC's object is not what its hash says",
        where=where,
        expected=f"md5 {expected}",
        found=found,
        todo="remove it and `dvc pull`, or `dvc repro` makes it again",
    )
