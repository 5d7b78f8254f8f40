"""Nights that builders make and the real parts keep: in DVC, registered, promoted, saved as the flow saves them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import MutableMapping
from pathlib import Path

from flows import save
from relex.core import hop
from relex.core.atomic import write_text
from relex.params.load import Params
from relex.registry.promotion import promote
from relex.registry.register import register
from tests.builders.nights import change_params, finish_night

_OUTS = ("base", "trajectory", "candidates", "evaluation", "report.html")
_METRICS = tuple(f"metrics/{name}" for name in ("decision.json", "evaluate.json", "train.json", "train_steps.csv"))


class Nights:
    """Nights made by builders, registered, promoted and saved by the real parts, in the present folder."""

    def __init__(self, params: Params):
        self.params, self.count, self.champion = params, 0, None
        outs = "".join(f"    - {name}\n" for name in _OUTS)
        outs += "".join(f"    - {name}: {{cache: false}}\n" for name in _METRICS)
        write_text(Path("dvc.yaml"), f"stages:\n  night:\n    cmd: 'true'\n    outs:\n{outs}")
        write_text(Path(".gitignore"), "".join(f"/{name}\n" for name in (*_OUTS, ".relex", "mlflow.db", "mlartifacts")))
        run("git", "init", "-q")
        shutil.rmtree(".dvc", ignore_errors=True)  # made without Git
        run("dvc", "init", "-q")
        run("git", "add", "-A")
        run("git", "commit", "-qm", "a clone")

    def night(self, *, promoted: bool) -> None:
        """One more night."""
        self.count += 1
        hop.write(hop.Hop(night=self.count))
        model = finish_night(Path(), self.count, champion=self.champion, promote=promoted)
        run("dvc", "commit", "-q", "-f")
        register(self.params)
        if promoted:
            assert promote(self.params).startswith("promoted")
            self.champion = model
        assert save.main() == 0


def run(*command: str) -> str:
    """A command that must succeed; what it printed."""
    if command[0] == "dvc":
        command = (sys.executable, "-m", *command)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def enter(environment: MutableMapping[str, str]) -> None:
    """What Git and DVC need in a process that makes nights: a committer, and this interpreter's scripts."""
    for role in ("AUTHOR", "COMMITTER"):
        environment[f"GIT_{role}_NAME"], environment[f"GIT_{role}_EMAIL"] = "test", "test@example.com"
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"


def change_retention(retention: str, **registry: str) -> Params:
    """params.yaml in the present folder with another section `retention` (as YAML) and another `registry`."""
    path = Path("params.yaml")
    head, _, tail = path.read_text().partition("\nretention:\n")
    section = tail.partition("registry:\n")[2]
    path.write_text(f"{head}\nretention: {retention}\n\nregistry:\n{section}")
    return change_params(Path(), **registry)
