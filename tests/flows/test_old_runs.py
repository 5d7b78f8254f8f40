"""Prefect's memory of old nights goes beyond the limit, on a real server of the project's own."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from prefect import flow, get_run_logger

from flows.old_runs import forget
from flows.server import is_ours, prefect_server
from relex.core.workspace import PREFECT
from tests.builders.set_up import tables

pytestmark = [pytest.mark.real, pytest.mark.slow]


@flow
def small() -> None:
    """A run that logs a line."""
    get_run_logger().info("a line")


def test_ended_runs_beyond_the_limit_go_with_their_logs_and_only_from_the_projects_own_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tables(tmp_path / PREFECT)
    with prefect_server() as url:
        assert is_ours()
        for _ in range(4):
            small()
        assert forget(2) == 2
        assert forget(2) == 0
        monkeypatch.setenv("PREFECT_API_URL", url)
    assert not is_ours()
    with closing(sqlite3.connect(PREFECT / "prefect.db")) as database:
        assert database.execute("select count(*) from flow_run").fetchone() == (2,)
        logged = database.execute("select flow_run_id from log").fetchall()
        kept = database.execute("select id from flow_run").fetchall()
    assert set(logged) <= set(kept)
