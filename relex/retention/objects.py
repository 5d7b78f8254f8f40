"""DVC: the nights that were saved as experiments, the objects that they and others name, and letting go of some.

Built on DVC's own walk over revisions (used_objs), its experiments and the collector behind `dvc gc`, which removes the
list of a folder before the folder's files: whatever kills it in between leaves no folder that looks whole and is not.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relex.core.errors import Busy, InputError
from relex.core.workspace import EVALUATION_METRICS
from relex.params.redact import redact
from relex.retention.facts import Night, Object

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.repo.index import Index

_NIGHT = re.compile(r"night-\d{4,}-hop-\d+|night-[0-9a-f]{12}")  # as flows/save.py names hops, and named nights


@contextlib.contextmanager
def locked_project() -> Iterator[Repo]:
    """The DVC project here, which no other DVC command changes meanwhile; InputError without one, Busy for a lock."""
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.lock import LockError
    from dvc.repo import Repo, lock_repo

    logging.getLogger("dvc").setLevel(logging.CRITICAL)
    try:
        project = Repo(".")
    except NotDvcRepoError:
        raise InputError("not a DVC project", where=Path.cwd(), todo="run in the project's root") from None
    with project:
        try:
            with lock_repo(project):
                yield project
        except LockError:
            raise Busy(
                "another DVC command is at work in this project", where=Path.cwd(), todo="wait for it and try again"
            ) from None
        except DvcException as error:
            cause = error.__cause__
            raise InputError(
                "DVC cannot say what is needed, so nothing is pruned",
                where=Path.cwd(),
                found=redact(f"{error}; {cause}" if cause else error),
                todo="mend the dvc.yaml or dvc.lock that it names, or remove that branch, tag or experiment",
            ) from None


@contextlib.contextmanager
def _remote_errors() -> Iterator[None]:
    """InputError for whatever a remote raises: every kind of store has errors of its own."""
    from dvc_objects.errors import ObjectFormatError

    try:
        yield
    except (FileNotFoundError, ObjectFormatError):
        raise
    except Exception as error:
        raise InputError(
            "DVC's remote does not answer, or refuses",
            found=redact(f"{type(error).__name__}: {error}"),
            todo="try again when it does: what was begun is finished then",
        ) from None


def nights(project: Repo) -> tuple[tuple[Night, ...], list[str]]:
    """The nights that flows/save.py kept, the newest first, and the revisions of every other experiment."""
    from dvc.repo.experiments.refs import ExpRefInfo
    from scmrepo.noscm import NoSCM

    if isinstance(project.scm, NoSCM):
        return (), []
    found, others = [], []
    for baseline, experiments in project.experiments.ls(all_commits=True).items():
        for name, revision in experiments:
            if not _NIGHT.fullmatch(name):
                others.append(str(revision))
                continue
            used, remembered = _used(project, str(revision))
            found.append(
                Night(
                    name=name,
                    ref=str(ExpRefInfo(baseline, name)),
                    saved=float(project.scm.resolve_commit(revision).commit_time),
                    objects=used,
                    models=_models(project, str(revision)),
                    remembered=remembered,
                )
            )
    return tuple(sorted(found, key=lambda night: (-night.saved, night.name))), others


def standing(project: Repo) -> frozenset[str]:
    """The objects that the work tree names, and those that DVC remembers its runs by."""
    used, remembered = _named_by(project.index)
    return used | remembered


def named(project: Repo, others: list[str]) -> frozenset[str]:
    """The objects that branches, tags and the experiments `others` (revisions) name."""
    from scmrepo.noscm import NoSCM

    if isinstance(project.scm, NoSCM):
        return frozenset()
    return _names(project.used_objs(all_branches=True, all_tags=True, revs=others or None, force=True))


def cached(project: Repo) -> dict[str, Object]:
    """Every object of the cache; empty where the cache lies outside the project, as other projects may use it too."""
    odb = project.cache.local
    if cache_is_shared(project):
        return {}
    found = {}
    for name in odb.all():
        with contextlib.suppress(FileNotFoundError):
            facts = Path(odb.oid_to_path(name)).stat()
            found[name] = Object(facts.st_size, facts.st_mtime)
    return found


def cache_is_shared(project: Repo) -> bool:
    """Whether the cache lies outside the project."""
    return not Path(project.cache.local.path).resolve().is_relative_to(Path(project.root_dir).resolve())


def remote(project: Repo) -> Any | None:
    """The default remote's objects, None where there is none or it keeps versions of its own."""
    from dvc.exceptions import DvcException

    try:
        return project.cloud.get_remote_odb(command="relex prune")
    except DvcException:
        return None


def expand(project: Repo, md5: str, elsewhere: Any | None) -> frozenset[str]:
    """An artifact's objects: itself and, of a folder, its files, whose list is in the cache or else elsewhere."""
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree
    from dvc_objects.errors import ObjectFormatError

    if not md5.endswith(".dir"):
        return frozenset({md5})
    for odb in (project.cache.local, elsewhere):
        if odb is not None:
            with contextlib.suppress(FileNotFoundError, ObjectFormatError), _remote_errors():
                tree = Tree.load(odb, HashInfo("md5", md5))
                return frozenset({md5, *(str(file.value) for _, _, file in tree)})
    return frozenset({md5})


def forget(project: Repo, gone: Iterable[Night]) -> None:
    """Remove the experiments of nights."""
    refs = [night.ref for night in gone]
    if refs:
        project.experiments.remove(exp_names=refs)


def collect(project: Repo, gone: frozenset[str]) -> int:
    """Remove objects from the cache; how many were there."""
    return 0 if cache_is_shared(project) else _collect(project.cache.local, gone)


def collect_remote(odb: Any, gone: frozenset[str]) -> int:
    """Remove objects from a remote; how many were there."""
    from dvc_data.hashfile.db import get_index

    with _remote_errors():
        present = frozenset(odb.list_oids_exists(sorted(gone)))
        lists = sorted(name for name in present if name.endswith(".dir"))
        for names in (lists, sorted(present.difference(lists))):  # `dvc gc`'s order, without listing what others keep
            if names:
                odb.fs.remove([odb.oid_to_path(name) for name in names])
        if present:
            get_index(odb).clear()  # what DVC remembers of the remote
    return len(present)


def _collect(odb: Any, gone: frozenset[str]) -> int:
    from dvc_data.hashfile.gc import gc
    from dvc_data.hashfile.hash_info import HashInfo

    if not gone:
        return 0
    return int(gc(odb, [HashInfo("md5", name) for name in odb.all() if name not in gone]))


def _used(project: Repo, revision: str) -> tuple[frozenset[str], frozenset[str]]:
    from dvc.repo.brancher import switch

    with switch(project, revision):
        return _named_by(project.index)


def _named_by(index: Index) -> tuple[frozenset[str], frozenset[str]]:
    """The objects that one state of the project names, and its outputs that Git keeps (`cache: false`).

    After a run DVC's cache has those too: without them a stage whose outputs are gone would run again.
    """
    outs = frozenset(str(out.hash_info.value) for stage in index.stages for out in stage.outs if out.hash_info)
    used = _names(index.used_objs(force=True))
    return used, outs - used


def _models(project: Repo, revision: str) -> frozenset[str]:
    """The models that a saved night evaluated, as its metrics say; none for metrics that are not ours."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        file_system = project.scm.get_fs(revision)
        root = Path(project.root_dir).relative_to(project.scm.root_dir)
        with file_system.open((root / EVALUATION_METRICS).as_posix(), "r") as handle:
            return frozenset(str(model["model_sha256"]) for model in json.load(handle)["models"].values())
    return frozenset()


def _names(used: dict[Any, set[Any]]) -> frozenset[str]:
    return frozenset(str(found.value) for objects in used.values() for found in objects if found.value)
