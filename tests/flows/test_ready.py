"""What set-up makes ready is there, in this folder and nowhere else; what fails says so."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from flows import ready
from relex.core.errors import StageFailed


@pytest.mark.real
@pytest.mark.slow
def test_prefect_s_tables_are_this_folder_s_and_no_other_database_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")  # nobody listens there
    other = tmp_path / "team.db"
    monkeypatch.setenv("PREFECT_API_DATABASE_CONNECTION_URL", f"sqlite+aiosqlite:///{other}")
    Path("prefect.toml").write_text(f'[server.database]\nconnection_url = "sqlite+aiosqlite:///{other}"\n')
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "numba"))
    assert ready.main([]) == 0
    with closing(sqlite3.connect(".prefect/prefect.db")) as database:
        tables = {name for (name,) in database.execute("select name from sqlite_master where type = 'table'")}
    assert {"flow_run", "task_run", "log", "alembic_version"} <= tables
    assert not other.exists()
    assert list((tmp_path / "numba").rglob("*.nbc"))


def test_what_cannot_be_made_is_named_with_its_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    commands = {"nothing": ("-c", "pass"), "the tables": ("-c", "raise SystemExit('disk is full')")}
    monkeypatch.setattr(ready, "_COMMANDS", commands)
    with pytest.raises(StageFailed, match=r"the tables could not be made:\ndisk is full"):
        ready.ready()
    assert ready.main([]) == 1
