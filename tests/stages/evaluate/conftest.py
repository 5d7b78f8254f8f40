"""One fork server for all engines of these tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.builders.forked import asking, for_engines


@pytest.fixture(scope="session")
def _forks() -> Iterator[str]:
    with for_engines() as place:
        yield place


@pytest.fixture(scope="module")
def forked_engines(_forks: str) -> Iterator[None]:
    """Have engines forked: what a night does, and quick."""
    with asking(_forks):
        yield


@pytest.fixture
def forked(_forks: str) -> Iterator[None]:
    """The same for one test."""
    with asking(_forks):
        yield
