"""Whether a night has anything to do is DVC's to say; a `dvc status` that was killed has said nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flows import nightly
from relex.core.errors import StageFailed


@pytest.mark.parametrize(("script", "unchanged"), [("exit 0", True), ("exit 1", False), ("kill -9 $$", None)])
def test_a_killed_status_is_not_taken_for_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, unchanged: bool | None
) -> None:
    dvc = tmp_path / "dvc"
    dvc.write_text(f"#!/bin/sh\n{script}\n")
    dvc.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    monkeypatch.setattr(nightly, "environment", lambda: environment)
    if unchanged is None:
        with pytest.raises(StageFailed, match="137"):
            nightly.nothing_changed()
    else:
        assert nightly.nothing_changed() is unchanged
