"""The environment that make keeps, with the real Makefile and a real venv; only pip is a small stand-in for 4 GB.

The stand-in does what pip does to an environment: it writes console scripts with the interpreter that runs it, as new
files, leaves what is installed alone, and redoes an editable install each time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.builders import ROOT

PIP = r"""
import pathlib, sys
folder = pathlib.Path(sys.prefix)
with open(folder / "pip.log", "a") as log:
    log.write(" ".join(sys.argv[1:]) + "\n")
def script(name):
    head = f"#!{sys.executable}\n"
    if " " in head:
        head = "#!/bin/sh\n'''exec' \"%s\" \"$0\" \"$@\"\n' '''\n" % sys.executable
    path = folder / "bin" / name
    path.unlink(missing_ok=True)
    path.write_text(head + "import sys; print(sys.prefix)\n")
    path.chmod(0o755)
if "-r" in sys.argv and not (folder / "bin/dvc").exists():
    script("dvc")
if "-e" in sys.argv:
    script("relex")
    (folder / "editable").unlink(missing_ok=True)
    (folder / "editable").write_text(str(pathlib.Path.cwd()))
"""


LOCKS = ("infra/locks/cpu-py311.txt", "infra/locks/cuda-py311.txt")


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder in which `make setup` has run."""
    folder = tmp_path / "made"
    (folder / "infra/locks").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "infra/moved_environment.py", *LOCKS):
        shutil.copy(ROOT / name, folder / name)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / ".venv"], check=True)
    (site,) = (folder / ".venv/lib").glob("python3*/site-packages")
    (site / "pip.py").write_text(PIP)
    (folder / "flows").mkdir()
    (folder / "flows/ready.py").write_text("open('ready', 'a').write('made\\n')")
    make(folder)
    return folder


def make(folder: Path, *more: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "LOCK"}
    done = subprocess.run(["make", "setup", *more], env=environment, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_sound(folder: Path) -> None:
    """Console scripts run, with this folder's environment; so does what activate puts on the path."""
    environment = folder / ".venv"
    for name in ("dvc", "relex"):
        said = subprocess.run([environment / "bin" / name], capture_output=True, text=True, check=True).stdout
        assert said.strip() == str(environment)
    said = subprocess.run(
        ["sh", "-c", '. .venv/bin/activate && command -v dvc && echo "$VIRTUAL_ENV"'],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said.splitlines() == [str(environment / "bin/dvc"), str(environment)]
    assert (environment / "editable").read_text() == str(folder)
    assert str(environment) in (environment / "pyvenv.cfg").read_text()


def test_an_environment_that_stands_where_it_was_made_is_left_alone(made: Path) -> None:
    assert_sound(made)
    asked = (made / ".venv/pip.log").read_text()
    assert asked.count("\n") == 3
    make(made)
    assert (made / ".venv/pip.log").read_text() == asked
    assert (made / "ready").read_text() == "made\n"


@pytest.mark.parametrize("name", ["moved", "moved to a path with spaces"])
def test_after_the_folder_moved_make_mends_the_environment(made: Path, tmp_path: Path, name: str) -> None:
    made.rename(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        subprocess.run([tmp_path / name / ".venv/bin/dvc"], check=True)
    make(tmp_path / name)
    assert_sound(tmp_path / name)
    (tmp_path / name).rename(tmp_path / "back")
    make(tmp_path / "back")
    assert_sound(tmp_path / "back")


@pytest.mark.parametrize("copy", [shutil.copy2, os.link], ids=["bytes", "hard links"])
def test_a_copied_folder_has_an_environment_of_its_own(made: Path, tmp_path: Path, copy: Callable[..., Any]) -> None:
    shutil.copytree(made, tmp_path / "copy", symlinks=True, copy_function=copy)
    make(tmp_path / "copy")
    assert_sound(tmp_path / "copy")
    asked = (made / ".venv/pip.log").read_text()
    make(made)
    assert (made / ".venv/pip.log").read_text() == asked  # its stamp is its own
    assert_sound(made)


def test_an_environment_whose_stamp_does_not_say_where_it_was_made_is_mended_once(made: Path, tmp_path: Path) -> None:
    """As earlier versions of the Makefile left it."""
    made.rename(tmp_path / "moved")
    (stamp,) = (tmp_path / "moved/.venv").glob(".installed-*")
    stamp.write_text("")
    make(tmp_path / "moved")
    assert_sound(tmp_path / "moved")
    asked = (tmp_path / "moved/.venv/pip.log").read_text()
    make(tmp_path / "moved")
    assert (tmp_path / "moved/.venv/pip.log").read_text() == asked


def test_what_was_installed_before_a_set_up_was_broken_off_is_compiled_by_the_next(made: Path) -> None:
    (site,) = (made / ".venv/lib").glob("python3*/site-packages")
    (site / "installed.py").write_text("")
    (site / "template.py").write_text("no {{ Python }} at all")
    make(made)
    assert not list(site.glob("__pycache__/installed.*"))
    for stamp in (made / ".venv").glob(".installed-*"):
        stamp.unlink()
    make(made)
    assert list(site.glob("__pycache__/installed.*.pyc"))


@pytest.mark.parametrize(("driver", "lock", "why"), [("", "cpu", "no"), ("/proc/driver/nvidia/version", "cuda", "an")])
def test_what_is_installed_fits_the_machine_unless_it_is_asked_otherwise(
    made: Path, driver: str, lock: str, why: str
) -> None:
    for stamp in (made / ".venv").glob(".installed-*"):
        stamp.unlink()
    said = make(made, f"DRIVER={driver}")
    assert f"{lock}-py311.txt, as this machine has {why} NVIDIA driver" in said
    assert f"-r infra/locks/{lock}-py311.txt" in (made / ".venv/pip.log").read_text()
    other = "cuda" if lock == "cpu" else "cpu"
    assert "as it was asked for" in make(made, f"DRIVER={driver}", f"LOCK=infra/locks/{other}-py311.txt")
    assert f"-r infra/locks/{other}-py311.txt" in (made / ".venv/pip.log").read_text()
