"""A final name always holds something whole."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from relex.core import rename
from relex.core.atomic import new_file, new_folder, read_json, remove_leftovers, scratch_folder, write_json, write_text
from relex.core.errors import InputError
from relex.core.owner import temporary_name
from tests.core.killed import killed_at_every_line


def test_a_failure_while_writing_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "value.json"
    write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), new_file(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert read_json(path) == {"a": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["value.json"]


def test_a_failure_while_writing_a_folder_leaves_the_old_one(tmp_path):
    with new_folder(tmp_path / "out") as folder:
        (folder / "a").write_text("old")
    with pytest.raises(RuntimeError), new_folder(tmp_path / "out", replace=True) as folder:
        (folder / "a").write_text("new")
        raise RuntimeError
    assert (tmp_path / "out" / "a").read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_an_existing_output_is_refused_before_anything_is_written(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="already exists"), new_folder(tmp_path / "out"):
        raise AssertionError("the body must not run")


def test_nan_is_not_written_as_json(tmp_path):
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "value.json", {"a": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_a_writer_killed_in_the_middle_leaves_nothing_under_the_final_name(tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; from relex.core.atomic import new_folder\n"
        "with new_folder(Path(sys.argv[1]) / 'out') as folder:\n"
        "    (folder / 'a').write_text('half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    assert os.listdir(tmp_path)
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.fixture(params=["with renameat2", "without"])
def renaming(request, monkeypatch):
    """As the kernel of this machine has it, and as on a file system that lacks it."""
    if request.param == "without":
        monkeypatch.setattr(rename, "_renameat2", lambda *_: False)
    return request.param


@pytest.fixture
def unsynced(monkeypatch):
    """Kills of processes lose nothing that was written; syncing is for machines that lose power, and slow."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def write_folder(path: Path, word: str, **options) -> None:
    with new_folder(path, **options) as folder:
        for name in ("a", "b"):
            (folder / name).write_text(word)


def content(path: Path) -> list[str]:
    return sorted(file.read_text() for file in path.iterdir())


@pytest.mark.parametrize("old", [True, False])
def test_a_folder_killed_at_any_line_is_the_old_or_the_new_one_and_the_next_command_leaves_nothing_else(
    tmp_path, renaming, unsynced, old
):
    out, allowed = tmp_path / "out", [["old", "old"] if old else None, ["new", "new"]]

    def prepare() -> None:
        subprocess.run(["rm", "-rf", *tmp_path.glob("*"), *tmp_path.glob(".[!.]*")], check=True)
        if old:
            write_folder(out, "old")

    seen = []
    for line in killed_at_every_line(prepare, lambda: write_folder(out, "new", replace=True)):
        if renaming == "without":  # there the name may be free for a moment, until the next command
            remove_leftovers(tmp_path)
        seen.append(content(out) if out.exists() else None)
        assert seen[-1] in allowed, f"killed at line {line}"
        remove_leftovers(tmp_path)
        assert os.listdir(tmp_path) == ([] if seen[-1] is None else ["out"]), f"killed at line {line}"
    assert [seen[0], seen[-1]] == allowed


def test_a_file_killed_at_any_line_is_the_old_or_the_new_one_and_the_next_command_leaves_nothing_else(
    tmp_path, unsynced
):
    path = tmp_path / "value"
    for line in killed_at_every_line(lambda: write_text(path, "old"), lambda: write_text(path, "new")):
        assert path.read_text() in ("old", "new"), f"killed at line {line}"
        remove_leftovers(tmp_path)
        assert os.listdir(tmp_path) == ["value"], f"killed at line {line}"


@pytest.mark.parametrize("kind", ["folder", "empty folder", "file"])
def test_an_output_that_appeared_meanwhile_is_kept(tmp_path, renaming, kind):
    out = tmp_path / "out"
    with pytest.raises(InputError, match="already exists"), new_folder(out) as folder:
        (folder / "a").write_text("ours")
        if kind == "file":
            out.write_text("theirs")
        else:
            out.mkdir()
        if kind == "folder":
            (out / "b").write_text("theirs")
    assert (out.read_text() if kind == "file" else os.listdir(out)) == {"folder": ["b"], "file": "theirs"}.get(kind, [])
    assert os.listdir(tmp_path) == ["out"]


def test_two_that_replace_a_folder_at_once_leave_one_of_their_own(tmp_path):
    out = tmp_path / "out"
    with new_folder(out, replace=True) as mine:
        (mine / "a").write_text("mine")
        write_folder(out, "theirs")
    assert content(out) == ["mine"]
    assert os.listdir(tmp_path) == ["out"]


def test_what_a_living_process_writes_is_no_leftover(tmp_path):
    code = (
        "import sys; from pathlib import Path; from relex.core.atomic import new_file, new_folder\n"
        "where = Path(sys.argv[1])\n"
        "with new_file(where / 'value'), new_folder(where / 'out') as folder:\n"
        "    (folder / 'a').write_text('half'); print('writing', flush=True); input()\n"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout.readline() == "writing\n"
    remove_leftovers(tmp_path)
    with new_folder(tmp_path / "out", replace=True):
        pass
    assert len(os.listdir(tmp_path)) == 3
    writer.kill()
    writer.communicate()
    with new_folder(tmp_path / "out", replace=True):  # clears what was to become the same
        pass
    assert len(os.listdir(tmp_path)) == 2
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == ["out"]


def test_what_another_container_writes_is_no_leftover_while_it_is_locked_or_young(tmp_path):
    """Another space of process ids, in which this process's id may be anybody's."""
    name = temporary_name("value")
    mine = name.split("-")[-2].split(".")[0]
    path = tmp_path / name.replace(mine, "0" * 8)
    path.write_text("half")
    remove_leftovers(tmp_path)
    assert path.exists()  # young
    os.utime(path, (0, 0))
    with open(path) as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        remove_leftovers(tmp_path)
        assert path.exists()  # old, and in work
    remove_leftovers(tmp_path)
    assert not path.exists()


def test_a_process_id_that_was_given_again_does_not_keep_a_leftover(tmp_path):
    space, pid, started = temporary_name("value").split("-")[-2].split(".")
    path = tmp_path / f".tmp-value-{space}.{pid}.{int(started) - 1}-{'0' * 8}"
    path.write_text("half")
    remove_leftovers(tmp_path)
    assert not path.exists()


def test_leftovers_below_a_folder_are_found_and_what_links_point_to_is_left_alone(tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; from relex.core.atomic import scratch_folder\n"
        "with scratch_folder(Path(sys.argv[1]) / 'state/deep', 'upload') as folder:\n"
        "    (folder / 'a').write_text('half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    for place in ("here", "elsewhere"):
        subprocess.run([sys.executable, "-c", code, str(tmp_path / place)], check=False)
    (tmp_path / "here/link").symlink_to(tmp_path / "elsewhere")
    remove_leftovers(tmp_path / "here", below=True)
    assert os.listdir(tmp_path / "here/state/deep") == []
    assert len(os.listdir(tmp_path / "elsewhere/state/deep")) == 1


def test_a_scratch_folder_is_gone_after_its_body(tmp_path):
    with pytest.raises(RuntimeError), scratch_folder(tmp_path / "state", "upload") as folder:
        (folder / "a").write_text("half")
        raise RuntimeError
    assert os.listdir(tmp_path / "state") == []


def test_a_folder_of_links_leaves_the_modes_of_what_they_point_to(tmp_path):
    (tmp_path / "cached").write_text("shared")
    os.chmod(tmp_path / "cached", 0o444)
    with new_folder(tmp_path / "out") as folder:
        (folder / "a").symlink_to(tmp_path / "cached")
    assert (tmp_path / "cached").stat().st_mode & 0o777 == 0o444
