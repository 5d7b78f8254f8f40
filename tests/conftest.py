"""One thread a process: the tests run many processes, and OpenMP's threads wait badly for a busy core."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings

# Hypothesis fails an example that takes long, or longer than before: what a busy machine does, not the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

os.environ.setdefault("OMP_NUM_THREADS", "1")
# pytest-xdist gives its processes titles. What a title is written over is the environment that a process was started
# with, which a fork server compares (relex/core/forkserver/surroundings.py): without this it refuses them.
os.environ.setdefault("SPT_NOENV", "1")
# Every project of a test would have its engines compile anew, for a minute on two cores.
os.environ.setdefault("RELEX_COMPILED", str(Path(__file__).parents[1] / ".relex" / "compiled"))

# The committed project sends none; in the others that tests make, every call of DVC would start a process that tries.
os.environ["DVC_NO_ANALYTICS"] = "1"


# What a test sets in this process's environment, or a library does for it (Ray, where it runs; MLflow, which registry
# it was told), ends with the test, and what a fixture sets with the fixture's scope: later tests start commands in that
# environment, in whatever order they come.
_AT_FIRST: dict[str, str] = {}


def pytest_collection_finish() -> None:
    """With what is set while tests are imported, which is alike in all processes."""
    _AT_FIRST.update(os.environ)


class _WholeSession:
    """Fixtures of a whole session, which do not belong to this folder: its hooks are not asked about them."""

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[object]) -> Generator[None, object, object]:
        """They find nothing of the first test that asks for them, and leave nothing."""
        whole = fixturedef.scope == "session"
        with mock.patch.dict(os.environ, _AT_FIRST, clear=True) if whole else contextlib.nullcontext():
            return (yield)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_WholeSession())


@pytest.fixture(scope="module", autouse=True)
def _environment_of_a_file() -> Iterator[None]:
    with mock.patch.dict(os.environ):
        yield


@pytest.fixture(autouse=True)
def _environment_of_a_test(_environment_of_a_file: None) -> Iterator[None]:
    """Without what the fixtures of its file told MLflow: a test has a registry of its own."""
    with mock.patch.dict(os.environ):
        for name in [name for name in os.environ if name.startswith("MLFLOW_") or name == "DO_NOT_TRACK"]:
            del os.environ[name]
            if name in _AT_FIRST:
                os.environ[name] = _AT_FIRST[name]
        yield


@pytest.fixture(scope="session")
def forks() -> Iterator[str]:
    """A fork server for commands that tests start: where it listens."""
    from tests.builders.forked import for_commands

    with for_commands() as place:
        yield place


@pytest.fixture(scope="module")
def forked_commands(forks: str) -> Iterator[None]:
    """Have commands and their engines forked: as good as fresh ones, and quick."""
    from tests.builders.forked import asking

    with asking(forks):
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long first, so that two processes end together (pytest -n 2 --no-loadscope-reorder).

    Those in which every test is slow, then those with a slow test, then what starts real parts, then the quick ones.
    """
    by_file: dict[object, list[pytest.Item]] = {}
    for item in items:
        by_file.setdefault(item.path, []).append(item)

    def turn(item: pytest.Item) -> tuple[bool, bool, bool]:
        here = by_file[item.path]
        slow = [one.get_closest_marker("slow") is not None for one in here]
        return not all(slow), not any(slow), not any(one.get_closest_marker("real") for one in here)

    items.sort(key=turn)
