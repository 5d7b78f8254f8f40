"""What a night has left in its folder, so that two nights can be compared."""

from __future__ import annotations

import difflib
import itertools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from relex.core.digest import file_sha256
from tests.builders import ROOT
from tests.builders.project import Project
from tests.endurance.miniature import TIMED

# Machinery with names and bytes of its own: Git's, DVC's and Prefect's, the registry's (asked, not read), our state.
_NOT_COMPARED = (
    ".git",
    ".dvc/tmp",
    ".dvc/cache",
    ".dvc/config.local",
    ".prefect",
    "mlartifacts",
    ".relex",
    "relex",
    "flows",
    "trajectory/cache",
)
_NOT_BYTES = (
    *("mlflow.db", "dvc.lock", "history.jsonl", "ledger.jsonl", "ledger.csv", *TIMED),
    *("champion/lineage.json", "champion/README.md"),  # a version's card says what its training took
)
_RANDOM = re.compile(
    r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|\+00:00)|\b(?:m-)?[0-9a-f]{32}\b|\b[0-9a-f]{40}\b|\b[0-9a-f]{8}-[0-9a-f-]{27}\b"
)

# A lineage's facts that hold the seconds of a night, or the hash of the lock that holds their hash.
_SECONDS = re.compile(r'(?<=dvc_lock_sha256\\": \\")[0-9a-f]{64}|(?<=training_seconds\\": \\")[\d.]+')


def outcome(project: Project) -> dict[str, Any]:
    """By name: each artifact's hash; lock, history and ledger without seconds and moments; the registry's facts."""
    folder = project.folder
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not _below(name, _NOT_COMPARED):
            found[name] = "" if _below(name, _NOT_BYTES) else file_sha256(path)
    found["dvc.lock"] = _lock(folder / "dvc.lock")
    found["history.jsonl"] = [_told(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    found["ledger.jsonl"] = [_spent(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]
    found["git"] = [
        project.run("git", *command).stdout
        for command in (["symbolic-ref", "HEAD"], ["status", "--short", "--untracked-files=no"])
    ]
    found["registry"] = _registry(project)
    return found


def differing(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Names under which two outcomes differ."""
    return sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))


def unlike(ours: Any, theirs: Any) -> list[str]:
    """The lines in which two facts differ, twenty at most."""
    texts = [json.dumps(facts, indent=1, sort_keys=True, default=str).splitlines() for facts in (theirs, ours)]
    lines = difflib.unified_diff(*texts, "undisturbed", "disturbed", n=0, lineterm="")
    return [line[:200] for line in itertools.islice(lines, 20)]


def files_left(project: Project) -> set[str]:
    """Names under which something is written for the time being, and all of the project's state but logs."""
    state = project.folder / ".relex"
    names = {f"project: {path.name}" for path in project.folder.rglob(".tmp-*")}
    names |= {f".relex/{path.relative_to(state).as_posix()}" for path in state.rglob("*") if path.suffix != ".log"}
    return names


def temporaries(folder: Path) -> set[str]:
    """What is in a night's temporary folder, without what was compiled there to be used again."""
    return {f"TMPDIR: {path.name}" for path in folder.iterdir() if not path.name.startswith("torchinductor_")}


def _below(name: str, places: tuple[str, ...]) -> bool:
    return "__pycache__" in name or any(name == place or name.startswith(f"{place}/") for place in places)


def _lock(path: Path) -> Any:
    stages = YAML(typ="safe").load(path.read_text())["stages"]
    for stage in stages.values():
        for kind in ("deps", "outs"):
            for entry in stage.get(kind, []):
                if _below(entry["path"], TIMED):
                    for fact in ("md5", "size"):
                        entry.pop(fact, None)
    return stages


def _told(line: str) -> Any:
    facts = json.loads(line)
    return {name: value for name, value in facts.items() if name not in ("id", "when", "run")}


def _spent(line: str) -> Any:
    """A line of the ledger without moments and seconds."""
    facts = json.loads(line)
    for sums in (facts["spent"], facts["total"]):
        sums.pop("seconds")
    return {name: value for name, value in facts.items() if name != "when"}


def _registry(project: Project) -> Any:
    script = Path(__file__).with_name("registry.py")
    environment = {**project.environment, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=project.folder,
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    text = _RANDOM.sub("*", done.stdout.splitlines()[-1])
    return json.loads(_SECONDS.sub("*", text))
