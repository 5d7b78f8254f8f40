"""`relex prune` on real nights: what goes is gone everywhere, what stays works, and a kill harms nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from relex.core.errors import InputError
from relex.registry.fetch import fetch
from relex.registry.lineage import lineage
from relex.registry.rebuild import rebuild
from relex.registry.store import runs_kept, versions
from relex.registry.store.connection import connect
from relex.retention import objects
from relex.retention.facts import Night
from relex.retention.prune import prune
from tests.builders import ROOT
from tests.builders.saved_nights import run

pytestmark = pytest.mark.real

# Where a prune is killed: at the function that is not reached any more.
KILLED_BEFORE = ("relex.registry.store.runs_kept._remove_for_good", "relex.retention.objects.forget")
_KILL = """
import os, signal, sys
from pathlib import Path
from importlib import import_module
module, _, name = sys.argv[1].rpartition(".")
setattr(import_module(module), name, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
from relex.params.load import load
from relex.retention.prune import prune
prune(load(Path("params.yaml")), yes=True)
"""
# Between folders' lists and their files, on the way through the cache.
_KILL_IN_COLLECT = """
import os, signal, sys
from pathlib import Path
from dvc_objects.fs.base import FileSystem
remove, calls = FileSystem.remove, []
def once(self, paths):
    if calls:
        os.kill(os.getpid(), signal.SIGKILL)
    if "cache" in paths[0]:
        calls.append(paths)
    remove(self, paths)
FileSystem.remove = once
from relex.params.load import load
from relex.retention.prune import prune
prune(load(Path("params.yaml")), yes=True)
"""


def kept() -> dict[str, set[str]]:
    """The saved nights, each with the objects that it names and the cache lacks."""
    with objects.locked_project() as project:
        nights, _ = objects.nights(project)
        return {night.name: set(night.objects - objects.cached(project).keys()) for night in nights}


def newest_night() -> Night:
    with objects.locked_project() as project:
        return objects.nights(project)[0][0]


def objects_of(tag: str) -> frozenset[str]:
    """What DVC's files at a Git tag name."""
    with objects.locked_project() as project:
        return objects._used(project, tag)[0]


def stored(folder: Path) -> set[str]:
    """DVC's objects below a cache or a remote."""
    return {path.parent.name + path.name for path in (folder / "files/md5").glob("??/*")}


def killed(code: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


@pytest.mark.slow
def test_a_prune_killed_anywhere_leaves_nights_that_are_whole_and_the_next_one_finishes_it(nights, tmp_path):
    made = nights("{nights: 1, promoted: 1, disk: null}")
    store = tmp_path / "store"
    run("dvc", "remote", "add", "-q", "-d", "store", str(store))
    for promoted in (True, True, False, False, True):
        made.night(promoted=promoted)
        if made.count == 3:
            run("git", "tag", "named", newest_night().ref)
    params, connection = made.params, connect(made.params)
    all_of_them, before = kept(), stored(Path(".dvc/cache"))
    assert len(all_of_them) == 5
    assert stored(store) == before
    tagged = objects_of("named")
    unpromoted = next(run for run in runs_kept.gather(connection, versions.versions(connection)) if not run.needed)
    assert unpromoted.size > 0

    section = params.registry.model_copy(update={"tracking_uri": "http://127.0.0.1:9"})
    with pytest.raises(InputError, match="cannot be reached"):  # and so cannot say what its versions need
        prune(params.model_copy(update={"registry": section}), yes=True)
    page = prune(params, yes=False)
    assert "A preview" in page
    assert "sort-digits version 1 (retention.promoted: 1)" in page
    assert "sort-digits version 2" not in page  # `previous` points to it
    assert (kept(), stored(Path(".dvc/cache")), stored(store)) == (all_of_them, before, before)

    for place in KILLED_BEFORE:
        killed(_KILL, place)
        assert not any(kept().values()), place  # no night is listed that lacks anything
    killed(_KILL_IN_COLLECT)
    assert not any(kept().values())
    run("dvc", "status", "--quiet")
    assert "identical (" in rebuild(params, "sort-digits/2")
    prune(params, yes=True)

    [(name, lacking)] = kept().items()
    assert not lacking
    assert name in all_of_them
    assert stored(store) == stored(Path(".dvc/cache")) < before
    assert tagged <= stored(store)  # a night is forgotten, but what a tag names stays
    assert "nothing to prune" in prune(params, yes=False)
    for number in ("2", "3"):
        assert "identical (" in rebuild(params, f"sort-digits/{number}")
    with pytest.raises(InputError, match="retention let go of what it was made from") as refused:
        rebuild(params, "sort-digits/1")
    hashes = json.loads(versions.versions(connection)[0].tags["lineage"])
    assert hashes["dvc.base"] in str(refused.value) or hashes["dvc.trajectory"] in str(refused.value)
    said = lineage(params, "sort-digits/1")
    assert "let go on" in said
    assert hashes["dvc.trajectory"] in said
    fetch(params, "sort-digits/1", tmp_path / "got")  # the version itself stays

    files = connection.client.list_artifacts
    assert files(unpromoted.id) == []
    pruned = connection.client.get_run(unpromoted.id)
    assert pruned.data.tags["decision"] == "keep-champion"  # what it came to stays
    children = f"tags.`mlflow.parentRunId` = '{unpromoted.id}'"
    assert connection.client.search_runs([pruned.info.experiment_id], children, run_view_type=3) == []
    assert all(files(str(version.run_id)) for version in versions.versions(connection))


@pytest.mark.slow
def test_a_version_by_reference_keeps_its_weights_when_its_rebuild_is_let_go(nights, tmp_path):
    made = nights("{nights: 1, promoted: 1, disk: 1B}", mode="reference")
    for _ in range(3):
        made.night(promoted=True)
    page = prune(made.params, yes=True)
    assert "retention.disk: 1B is less than what must stay" in page
    assert "versions by reference" in page
    for number in ("1", "2", "3"):
        fetch(made.params, f"sort-digits/{number}", tmp_path / number)
    assert "identical (" in rebuild(made.params, "sort-digits/2")
    with pytest.raises(InputError, match="retention let go"):
        rebuild(made.params, "sort-digits/1")
