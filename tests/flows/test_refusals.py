"""A registry that nobody answers for, in a flow: said once and in full, without tracebacks or secrets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders import ROOT
from tests.builders.nights import change_params, make_project

pytestmark = pytest.mark.real


@pytest.mark.slow
def test_a_flow_whose_registry_is_away_says_so_once(tmp_path: Path) -> None:
    make_project(tmp_path / "project")
    change_params(tmp_path / "project", tracking_uri="http://night:hunter2@127.0.0.1:9")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    variables |= {"PYTHONPATH": str(ROOT), "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "flows.promote", "--rollback", "--reason", "x"],
        cwd=tmp_path / "project",
        env=variables,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said = done.stdout
    assert done.returncode == 2, said
    assert said.count("cannot be reached") == 1, said
    assert "http://***@127.0.0.1:9: the registry cannot be reached; found Connection refused, tried 4 times; " in said
    assert "Traceback" not in said
    assert "HTTPConnectionPool" not in said
    assert "relex: relex:" not in said
    assert "hunter2" not in said
    last = said.rstrip().splitlines()[-1]
    assert last == "relex: `relex rollback --reason x` refused: its message stands above"
