"""Checkpoints as somebody has them, and a proof of them that was left alone: made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders import checkpoints
from tests.builders.forked import asking


@pytest.fixture(scope="module", autouse=True)
def forked(forked_commands: None) -> None:
    """All commands here."""


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.make(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="session")
def proven(made: Path, forks: str) -> Path:
    """The folder of the proof."""
    with asking(forks):
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
