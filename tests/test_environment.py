"""What tests and libraries leave in the environment of their process, later tests' commands are not started in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.builders import ROOT

_LEAVES = """
import os, pytest

@pytest.fixture(scope="session")
def project():
    assert "RAY_USAGE_STATS_ENABLED" not in os.environ
    os.environ["PYTHONBREAKPOINT"] = "0"
    del os.environ["BEFORE"]

@pytest.fixture(scope="module")
def cluster():
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["MLFLOW_TRACKING_URI"] = "sqlite:///of-a-fixture.db"

def test_one(cluster):
    assert (os.environ["BEFORE"], os.environ["RAY_USAGE_STATS_ENABLED"]) == ("01", "0")
    assert "MLFLOW_TRACKING_URI" not in os.environ
    os.environ["PYTHONBREAKPOINT"] = "0"
    del os.environ["BEFORE"]

def test_two(project):
    assert os.environ["BEFORE"] == "01"
    assert "PYTHONBREAKPOINT" not in os.environ
"""
_FINDS = """
import os

def test_three():
    assert os.environ["BEFORE"] == "01"
    assert not {"PYTHONBREAKPOINT", "RAY_USAGE_STATS_ENABLED", "MLFLOW_TRACKING_URI"} & os.environ.keys()
"""


def test_a_test_begins_in_the_environment_in_which_the_first_began(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "tests/conftest.py", tmp_path / "tests")
    (tmp_path / "tests/test_first.py").write_text(_LEAVES)
    (tmp_path / "tests/test_second.py").write_text(_FINDS)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests"]
    variables = {**os.environ, "BEFORE": "01"}
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout
