"""One fork server for all engines of these tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from relex.core.forkserver.ask import VARIABLE
from tests.builders.forked import for_engines


@pytest.fixture(scope="session")
def _forks() -> Iterator[str]:
    with for_engines() as place:
        yield place


@pytest.fixture(scope="module")
def forked_engines(_forks: str) -> Iterator[None]:
    """Have engines forked: what a night does, and quick."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, _forks)
        yield


@pytest.fixture
def forked(_forks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for one test."""
    monkeypatch.setenv(VARIABLE, _forks)
