"""The processes of a night: what each is, and what is left of them."""

from __future__ import annotations

import contextlib
import ctypes
import time

import psutil

from tests.builders.project import alive

# (kind, words of its command line), the first that fits. What a night gains is a line here.
KINDS = (
    ("supervisor", "flows/supervise.py"),
    ("make", "make -o"),
    ("night", "flows.nightly"),
    ("prefect server", "prefect server"),
    ("prefect server", "prefect.server"),
    ("fork server", "relex.core.forkserver"),
    ("engine", "relex.stages.evaluate.engine"),
    ("scorer", "relex.rewards.scoring_server"),
    ("asker for dvc", "flows.dvc_command"),
    ("dvc repro", "dvc --wait-for-lock repro"),
    ("dvc status", "dvc status"),
    ("dvc exp save", "exp save"),
    ("save", "flows.save"),
    *((f"relex {name}", f"relex {name}") for name in ("problems", "base", "train", "diagnose", "extrapolate")),
    *((f"relex {name}", f"relex {name}") for name in ("evaluate", "decide", "report")),
    *((f"relex {name}", f"relex {name}") for name in ("champion", "live", "register", "promote", "prune")),
    ("training process", "relex.cli train"),
    ("ray", "ray"),
    ("git", "git"),
)
_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent has ended: none can get away unseen."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def kind_of(process: psutil.Process) -> str:
    """The first of KINDS whose words its command line holds, else the program's name."""
    line = " ".join(process.cmdline())
    return next((kind for kind, words in KINDS if words in line), process.name())


def living() -> list[psutil.Process]:
    """All descendants of this process that run, orphans among them."""
    return [process for process in psutil.Process().children(recursive=True) if alive(process)]


def by_kind() -> dict[str, list[psutil.Process]]:
    """The same, by what they are."""
    found: dict[str, list[psutil.Process]] = {}
    for process in living():
        with contextlib.suppress(psutil.NoSuchProcess):
            found.setdefault(kind_of(process), []).append(process)
    return found


def orphans(seconds: float) -> list[str]:
    """What still runs `seconds` after now, as command lines; it is killed then, so that it disturbs nothing else."""
    deadline = time.monotonic() + seconds
    while left := living():
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    lines = []
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            lines.append(f"{process.pid} {' '.join(process.cmdline())[:160]}")
            process.kill()
    return lines
