"""One thread a process: the tests run many processes, and OpenMP's threads wait badly for a busy core."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings

from tests.builders.told_mlflow import forget_registry

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


@contextlib.contextmanager
def _as_at_first() -> Iterator[None]:
    """What the body sets in this process's environment, and what libraries do for it (Ray, where it runs; MLflow, which
    registry it was told), ends with it: later tests start commands in that environment. What fixtures of a wider scope
    were told of a registry is not for the body either."""
    with mock.patch.dict(os.environ):
        forget_registry(os.environ)
        yield


@pytest.fixture(scope="module", autouse=True)
def _own_environment_of_a_file() -> Iterator[None]:
    with _as_at_first():
        yield


@pytest.fixture(autouse=True)
def _own_environment(_own_environment_of_a_file: None) -> Iterator[None]:
    with _as_at_first():
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
