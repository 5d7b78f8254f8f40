"""What a process takes over when it is forked instead of started, and must therefore be alike."""

from __future__ import annotations

import os
import re
import resource
import sys
from collections.abc import Mapping
from typing import Any

# Environment variables that nothing reads while it is imported, or that every command has its own of.
_FREE = re.compile(
    "TMPDIR|PWD|OLDPWD|SHLVL|_|COLUMNS|LINES|MAKEFLAGS|MAKELEVEL|MFLAGS|PYTHONPATH"
    "|TORCHINDUCTOR_CACHE_DIR|PYTEST_CURRENT_TEST"
    "|(?:DVC|RELEX|PREFECT|GIT|VLLM_CPU|_MLFLOW)_.*"
)
_STATUS = ("Umask", "NoNewPrivs", "Seccomp", "CapEff", "Uid", "Gid", "Groups")
_LIMITS = sorted(name for name in dir(resource) if name.startswith("RLIMIT_"))
_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")


def surroundings() -> dict[str, Any]:
    """This process's own, by name, as JSON has them. `variables` is the environment that it was started with."""
    with open("/proc/self/status", encoding="utf-8") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    return {
        "python": [sys.executable, sys.version, list(sys.flags), sorted(sys._xoptions)],
        "status": {name: status.get(name) for name in _STATUS},
        "limits": {name: list(resource.getrlimit(getattr(resource, name))) for name in _LIMITS},
        "namespaces": {name: os.readlink(f"/proc/self/ns/{name}") for name in _NAMESPACES},
        "processors": sorted(os.sched_getaffinity(0)),
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "variables": started_with(),
    }


def started_with() -> dict[str, str]:
    """The environment that this process was started with; what imports set later is not in it."""
    with open("/proc/self/environ", "rb") as file:
        entries = file.read().decode(errors="surrogateescape").split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def difference(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str | None:
    """What is unlike, for people; None where a forked process is as good as a fresh one."""
    for name in ours:
        if name != "variables" and theirs.get(name) != ours[name]:
            return name
    one, other = theirs["variables"], ours["variables"]
    unlike = {key for key in one.keys() | other.keys() if one.get(key) != other.get(key) and not _FREE.fullmatch(key)}
    return f"variables {', '.join(sorted(unlike))}" if unlike else None
