"""The campaign of killed nights: its parts. The whole is a command of an hour, in CONTRIBUTING.md."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

from relex.core.workspace import LEDGER
from tests.builders import ROOT
from tests.endurance.campaign import disk, told


def test_the_command_says_what_it_does() -> None:
    command = [sys.executable, "-m", "tests.endurance.campaign", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--nights" in done.stdout


def test_files_that_share_their_bytes_are_counted_once_and_links_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(bytes(1000))
    os.link(tmp_path / "one", tmp_path / "same")
    (tmp_path / "link").symlink_to("one")
    (tmp_path / "other").write_bytes(bytes(24))
    assert disk(SimpleNamespace(project=SimpleNamespace(folder=tmp_path))) == 1024


def test_the_last_hop_is_told(tmp_path: Path) -> None:
    hops = [
        {"kind": "hop", "mode": mode, "accepted": good, "total": {"steps": n}}
        for mode, good, n in (("fresh", True, 4), ("continue", False, 8))
    ]
    (tmp_path / LEDGER).write_text("".join(json.dumps(row) + "\n" for row in [*hops, {"kind": "night"}]))
    assert told(SimpleNamespace(project=SimpleNamespace(folder=tmp_path))) == "continue, refused, 8 steps in all"
