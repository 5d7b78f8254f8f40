"""Keep the night: its inputs and small outputs as a Git ref of DVC's, its artifacts in the DVC remote if there is one.

    python -m flows.save

The branch is left alone. `dvc exp list --all-commits` shows the kept nights, `dvc exp apply NAME` brings one back.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from flows.killed_dvc import on_its_branch
from flows.stages import environment
from relex.core.atomic import write_text
from relex.core.digest import file_sha256, json_sha256
from relex.core.workspace import CHAMPION, HISTORY, METRICS, PARAMS, STATE

_SAVED = STATE / "saved"


def main() -> int:
    """Save unless exactly this night is saved already; DVC's exit code."""
    files = [Path("dvc.lock"), Path("dvc.yaml"), PARAMS, CHAMPION, *sorted(METRICS.glob("*"))]
    files += [path for path in [HISTORY] if path.exists()]
    name = "night-" + json_sha256({path.as_posix(): file_sha256(path) for path in files})[:12]
    if _SAVED.exists() and _SAVED.read_text().strip() == name:
        print(f"save: {name} is kept already")
        return 0
    command = ["dvc", "--wait-for-lock", "exp", "save", "--force", "--name", name]
    for path in files:  # on a first night some of them are not under version control yet
        command += ["--include-untracked", path.as_posix()]
    with on_its_branch():
        done = subprocess.run(command, env=environment(), check=False)
    if done.returncode:
        return done.returncode
    remotes = subprocess.run(
        ["dvc", "remote", "list"], env=environment(), check=True, capture_output=True, text=True
    ).stdout.split()
    if remotes:
        pushed = subprocess.run(["dvc", "--wait-for-lock", "push"], env=environment(), check=False)
        if pushed.returncode:
            return pushed.returncode
    write_text(_SAVED, name + "\n")
    print(f"save: kept as {name}" + (", pushed" if remotes else ", no DVC remote is configured: not pushed"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
