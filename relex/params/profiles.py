"""Complete params.yaml files for bases and regimes, in infra/profiles/: list them, put one in place."""

from __future__ import annotations

import subprocess
from pathlib import Path

from relex.core.atomic import new_file
from relex.core.errors import InputError
from relex.core.workspace import PARAMS, PROFILES


def listing(root: Path = Path()) -> str:
    """A line per profile: its name and what its first line says."""
    found = _profiles(root)
    width = max((len(name) for name in found), default=0)
    return "\n".join(f"{name:<{width}}  {_title(path)}" for name, path in found.items())


def install(name: str, root: Path = Path(), *, force: bool = False) -> str:
    """Make the profile the project's params.yaml; what was done, in words.

    InputError for an unknown name, and, unless forced, when params.yaml holds changes that neither Git nor a profile
    has: nothing of a user's is overwritten.
    """
    found = _profiles(root)
    if name not in found:
        raise InputError("unknown profile", where=root / PROFILES, expected=", ".join(found), found=name)
    present = root / PARAMS
    text = found[name].read_bytes()
    if not force and present.is_file() and not kept_elsewhere(root):
        raise InputError(
            "params.yaml holds changes that would be lost",
            where=present.resolve(),
            expected="what Git's last commit or a profile holds",
            todo="commit or copy it, or give --force",
        )
    with new_file(present) as temporary:
        temporary.write_bytes(text)
    return f"params.yaml is now {PROFILES / found[name].name}; `relex doctor` says what a night with it needs"


def _profiles(root: Path) -> dict[str, Path]:
    found = {path.stem: path for path in sorted((root / PROFILES).glob("*.yaml"))}
    if not found:
        raise InputError("no profiles here", where=(root / PROFILES).resolve(), todo="run in the project's root")
    return found


def _title(path: Path) -> str:
    return path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("#").strip()


def kept_elsewhere(root: Path) -> bool:
    """Whether a profile or Git's last commit holds what params.yaml holds."""
    held = (root / PARAMS).read_bytes()
    if any(path.read_bytes() == held for path in _profiles(root).values()):
        return True
    try:
        command = ["git", "show", f"HEAD:./{PARAMS}"]
        committed = subprocess.run(command, cwd=root.resolve(), capture_output=True, check=False)
    except FileNotFoundError:  # no Git: nothing is known to be kept
        return False
    return committed.returncode == 0 and committed.stdout == held
