"""The month in miniature, with few nights: the disk stops growing at the limit, and what is kept works."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders import ROOT
from tests.endurance.month import Disk, flat


@pytest.mark.real
@pytest.mark.slow
def test_three_nights_of_which_one_is_kept_leave_the_disk_flat_and_every_version_and_kept_night_whole(
    tmp_path: Path,
) -> None:
    words = ["--nights", "3", "--keep", "1", "--built", "--no-serve", "--folder", str(tmp_path / "project")]
    done = subprocess.run(
        [sys.executable, "-m", "tests.endurance.month", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert "version 1: loads, rebuilt, identical" in done.stdout
    assert "it holds" in done.stdout


def test_a_disk_that_goes_on_growing_is_not_flat() -> None:
    def grown(size: int, of_versions: int = 0) -> Disk:
        return Disk({"there": size + of_versions}, of_versions)

    assert flat([grown(50), grown(100), grown(105, 500), grown(110)], 1) == (True, 1.1)
    assert not flat([grown(50), grown(100), grown(105), grown(111)], 1)[0]
