"""The server that a flow starts: where it listens, and what is said of it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_API_PORT, temporary_settings

from flows.nightly import how_to_ask
from flows.server import page, prefect_server
from relex.core.errors import InputError
from relex.core.workspace import PREFECT
from tests.builders.set_up import tables


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def free() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PREFECT_SERVER_API_PORT", raising=False)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    return tmp_path


def test_a_port_that_was_asked_for_and_is_taken_is_refused_before_anything_starts(project, taken, monkeypatch):
    monkeypatch.setenv("PREFECT_SERVER_API_PORT", str(taken))
    with (
        temporary_settings({PREFECT_SERVER_API_PORT: taken}, restore_defaults={PREFECT_API_URL}),
        pytest.raises(InputError, match="PREFECT_SERVER_API_PORT: the port is taken"),
        prefect_server(),
    ):
        pass


@pytest.mark.real
@pytest.mark.slow
def test_the_server_listens_at_the_port_that_was_asked_for(project, monkeypatch):
    """In a folder that nobody has set up."""
    port = free()
    monkeypatch.setenv("PREFECT_SERVER_API_PORT", str(port))
    settings = {PREFECT_SERVER_API_PORT: port}
    with temporary_settings(settings, restore_defaults={PREFECT_API_URL}), prefect_server() as url:
        assert url == f"http://127.0.0.1:{port}/api"


@pytest.mark.real
@pytest.mark.slow
def test_where_another_server_has_the_default_port_a_free_one_is_taken(project, taken):
    tables(project / PREFECT)
    settings = {PREFECT_SERVER_API_PORT: taken}
    with temporary_settings(settings, restore_defaults={PREFECT_API_URL}), prefect_server() as url:
        assert not url.startswith(f"http://127.0.0.1:{taken}/")


def test_a_served_schedule_says_the_whole_command_with_the_address_and_without_credentials():
    said = how_to_ask("http://127.0.0.1:4200/api")
    assert "PREFECT_API_URL=http://127.0.0.1:4200/api " in said
    assert said.rstrip().endswith("/prefect deployment run nightly/nightly")
    assert "http://127.0.0.1:4200 shows them" in said
    assert "secret" not in how_to_ask("https://me:secret@prefect.example/api")
    assert page("https://me:secret@prefect.example/api") == "https://***@prefect.example"
