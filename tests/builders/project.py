"""A copy of this project in a folder of its own, as a clone would be, with a night small enough for a test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
from ruamel.yaml import YAML

from relex.core import hop
from relex.core.workspace import HOP
from tests.builders import ROOT
from tests.builders.set_up import set_up

# The embedded default made small: the same stages on the same parts, too little training to be any good. One engine,
# since its start costs more than all rows. What is gained over the base is proven many times over; the few problems out
# of domain could not show as small a loss as the default allows.
SMALL = {
    "problems.sizes": {"train": 60, "validation": 40, "test": 20, "ood": 20},
    "base.source.pretraining.steps": 60,
    "base.source.pretraining.warmup_steps": 10,
    "train.budget.steps": 6,
    "train.warmup_steps": 1,
    "train.prompts_per_step": 4,
    "train.per_device_train_batch_size": 32,
    "train.learning_rate": 1e-4,
    "train.window": {"first": 1, "last": 6, "every": 1},
    "train.completions": {"prompts": 10, "samples": 2},
    "extrapolate.targets": [12, 24],
    "extrapolate.rays": "named",
    "extrapolate.variants": [],
    "evaluate.engines": 1,
    "nights.budget": {"hops": 1},
    "decide.max_ood_loss": 0.2,
}


NOT_COPIED = ("tests", "metrics", "dvc.lock", "history.jsonl", "ledger.jsonl", "ledger.csv")


class Project:
    """One folder with a Git and DVC repository of its own."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(folder),
            "PWD": str(folder),  # as a shell in that folder has it; infra/prefect.yaml deploys from there
            "HF_HUB_OFFLINE": "1",
            "GIT_AUTHOR_NAME": "test",
            "GIT_AUTHOR_EMAIL": "test@example.com",
            "GIT_COMMITTER_NAME": "test",
            "GIT_COMMITTER_EMAIL": "test@example.com",
        }
        # Under a test's Prefect settings a night would report to the test's server instead of starting its own.
        for name in [name for name in self.environment if name.startswith("PREFECT_")]:
            del self.environment[name]

    @classmethod
    def make(cls, folder: Path, changes: Mapping[str, Any]) -> Project:
        """Copy every file under version control (as it stands in the working tree), set it up, adapt params.yaml, and
        commit."""
        names = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
        ).stdout.split(b"\0")
        for name in (Path(name.decode()) for name in names if name):
            if (ROOT / name).is_file() and name.parts[0] not in NOT_COPIED:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
            elif (ROOT / name).is_symlink():
                (folder / name).symlink_to(os.readlink(ROOT / name))
        set_up(folder)
        hop.write(hop.Hop(), folder / HOP)  # nights that were run in this checkout are at another one
        project = cls(folder)
        project.change(changes)
        for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "a clone"]):
            project.run("git", *command).check_returncode()
        return project

    def change(self, changes: Mapping[str, Any]) -> None:
        """Change params.yaml: dotted key -> value."""
        yaml = YAML()
        document = yaml.load((self.folder / "params.yaml").read_text())
        for key, value in changes.items():
            *parents, last = key.split(".")
            section = document
            for parent in parents:
                section = section[parent]
            section[last] = value
        with open(self.folder / "params.yaml", "w") as handle:
            yaml.dump(document, handle)

    def run(self, *command: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """Run to the end, output captured."""
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
        )

    def night(self) -> subprocess.CompletedProcess[str]:
        """What `make nightly` runs once the set-up is there."""
        return subprocess.run(
            [sys.executable, "-m", "flows.nightly"],
            cwd=self.folder,
            env=self._without_scripts(),
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )

    def _without_scripts(self) -> dict[str, str]:
        """The environment of a shell in which no virtual environment is active: make starts a night from such a one."""
        scripts = str(Path(sys.executable).parent)
        kept = [folder for folder in self.environment["PATH"].split(os.pathsep) if folder != scripts]
        return {**self.environment, "PATH": os.pathsep.join(kept)}

    def start_night(self, log: Path) -> subprocess.Popen[bytes]:
        """The same in the background."""
        with open(log, "wb") as handle:
            return subprocess.Popen(
                [sys.executable, "-m", "flows.nightly"],
                cwd=self.folder,
                env=self._without_scripts(),
                stdout=handle,
                stderr=subprocess.STDOUT,
            )

    def bytes_of(self, *names: str) -> dict[str, bytes]:
        """Every file below the named files and folders."""
        found = {}
        for name in names:
            path = self.folder / name
            for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
                found[file.relative_to(self.folder).as_posix()] = file.read_bytes()
        return found

    def artifacts(self, *names: str) -> dict[str, bytes]:
        """The same without what DVC ignores: caches beside an artifact."""
        return {name: data for name, data in self.bytes_of(*names).items() if not name.startswith("trajectory/cache/")}


def enter_copy(template: Path, folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """A copy of a project at folder/project, made the present folder."""
    shutil.copytree(template, folder / "project", symlinks=True)
    patch.chdir(folder / "project")
    return folder / "project"


def wait_for(condition: Callable[[], bool], seconds: float = 300.0) -> bool:
    """Whether `condition` came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def family(pid: int) -> list[psutil.Process]:
    """A process and its descendants; none when it is gone."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def runs(processes: list[psutil.Process], words: str) -> bool:
    """Whether one of the processes' command lines contains `words`."""
    for process in processes:
        try:
            if words in " ".join(process.cmdline()):
                return True
        except psutil.NoSuchProcess:
            continue
    return False


def alive(process: psutil.Process) -> bool:
    """Whether it still runs (a zombie does not)."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
