"""What a stage leaves of itself beside its numbers."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime

from relex.core.timing import timed


def test_a_stage_leaves_its_seconds_when_it_ended_and_the_commit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "timings").mkdir()
    with timed("outside"):
        pass
    assert json.loads((tmp_path / "timings/outside.json").read_text())["commit"] is None
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run(["git", *identity, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    before = datetime.now(UTC).replace(microsecond=0)
    with timed("inside") as details:
        details["rows"] = 3
    found = json.loads((tmp_path / "timings/inside.json").read_text())
    assert found.keys() == {"seconds", "ended", "commit", "rows"}
    assert found["commit"] == head
    assert before <= datetime.fromisoformat(found["ended"]) <= datetime.now(UTC)
