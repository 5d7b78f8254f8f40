"""Nights in miniature: every stage and every action on the real parts, as cheap as that can be."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from relex.core.workspace import LEDGER
from tests.builders.project import SMALL, Project

# Few steps, problems and tokens; a gate that lets pass what is a little better, so that a version is promoted.
MINIATURE = {
    **SMALL,
    "problems.sizes": {"train": 40, "validation": 40, "test": 10, "ood": 10},
    "train.budget.steps": 4,
    "train.window": {"first": 1, "last": 4, "every": 1},
    "train.state_every": 2,
    "train.completions": {"prompts": 6, "samples": 2},
    "extrapolate.targets": [12],
    "diagnose.scan_horizons": 4,
    "evaluate.resamples": 200,
    "decide.alpha": 0.45,
    "decide.min_gain": 0.0,
    "decide.max_ood_loss": 1.0,
    "decide.max_truncated": 1.0,
}
# The night after: another forecast of the same window, and a champion to compete with.
NEXT = {"extrapolate.targets": [12, 20]}
# Whose bytes no undisturbed night repeats: wall-clock seconds, and the page that shows them.
TIMED = ("timings", "report.html")


class Nights:
    """One folder in which nights run, put back to a state between them: paths stay the same, and compiled code."""

    def __init__(self, folder: Path, changes: Mapping[str, Any] | Path):
        """changes: of params.yaml, as Project.make takes them, or a params.yaml to take the place of it.

        What an earlier call left in `folder` is used again, with its code and parameters.
        """
        self.folder = folder
        self.temporary = folder / "tmp"
        self._states = folder / "states"
        if self._states.is_dir():
            self.project = Project(folder / "project")
            self.project.environment["TMPDIR"] = str(self.temporary)
            return
        self.temporary.mkdir(parents=True)
        self._states.mkdir()
        self.project = Project.make(folder / "project", {} if isinstance(changes, Path) else changes)
        if isinstance(changes, Path):
            shutil.copy(changes, self.project.folder / "params.yaml")
            self.project.run("git", "commit", "--all", "--quiet", "--message", "params").check_returncode()
        self.project.environment["TMPDIR"] = str(self.temporary)
        self.keep("nothing")

    def change(self, changes: Mapping[str, Any]) -> None:
        """Change params.yaml."""
        self.project.change(changes)

    def keep(self, name: str) -> None:
        """Remember the folder as it stands."""
        shutil.copytree(self.project.folder, self._states / name, symlinks=True, ignore=_code_and_byte_code)

    def has(self, name: str) -> bool:
        """Whether that state is remembered."""
        return (self._states / name).is_dir()

    def put_back(self, name: str) -> None:
        """Make the folder what it was, but for byte code and what Numba compiled."""
        for path in self.project.folder.iterdir():
            if path.name not in _CODE:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        shutil.copytree(self._states / name, self.project.folder, symlinks=True, dirs_exist_ok=True)
        shutil.rmtree(self.temporary)
        self.temporary.mkdir()

    def start(self, log: Path) -> subprocess.Popen[bytes]:
        """`make nightly` in the background, with this interpreter's environment in the place of the folder's own."""
        scripts = Path(sys.executable).parent
        stamp = scripts.parent / ".installed-cpu-py311.txt"
        command = ["make", "-o", str(stamp), "nightly", f"VENV={scripts.parent}"]
        environment = {**self.project.environment, "MAKEFLAGS": ""}
        with open(log, "wb") as handle:
            return subprocess.Popen(
                command, cwd=self.project.folder, env=environment, stdout=handle, stderr=subprocess.STDOUT
            )

    def ended(self) -> int:
        """How many nights have their line in the ledger."""
        ledger = self.project.folder / LEDGER
        return ledger.read_text().count('"kind": "night"') if ledger.exists() else 0

    def tidy(self) -> None:
        """What a night does for one that was killed after its end: its commit, and what is let go of."""
        for command in (
            [sys.executable, "-c", _CLEAR],
            [sys.executable, "-m", "flows.commit"],
            ["relex", "prune", "--yes"],
        ):
            self.project.run(*command).check_returncode()


_CLEAR = "from flows.nightly import clear; clear()"
_CODE = ("relex", "flows")


def _code_and_byte_code(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name in _CODE] if Path(folder).name == "project" else []
