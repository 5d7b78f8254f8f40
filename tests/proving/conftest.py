"""Checkpoints as somebody has them, and a proof of them that was left alone: made once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from relex.core.forkserver.ask import VARIABLE
from tests.builders import checkpoints
from tests.builders.forked import for_commands


@pytest.fixture(scope="session")
def _forks() -> Iterator[str]:
    with for_commands() as place:
        yield place


@pytest.fixture(scope="module", autouse=True)
def forked_commands(_forks: str) -> Iterator[None]:
    """Have commands and their engines forked: as good as fresh ones, and quick."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, _forks)
        yield


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.make(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="session")
def proven(made: Path, _forks: str) -> Path:
    """The folder of the proof."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, _forks)
        done = checkpoints.prove(made, "proof")
    assert done.returncode == 0, done.stderr
    return made / "proof"


@pytest.fixture
def here(made: Path, tmp_path: Path) -> Path:
    """Links to everything but the proof, where one can be put in place of another."""
    for path in made.iterdir():
        if path.name not in ("proof", "made"):
            (tmp_path / path.name).symlink_to(path)
    return tmp_path
