"""One small night, run once for all tests that look at what it left."""

from __future__ import annotations

import pytest

from tests.builders.project import SMALL, Project


@pytest.fixture(scope="session")
def first_night(tmp_path_factory):
    """A project after its first night, and what the night printed. Tests must leave it as they found it."""
    project = Project.make(tmp_path_factory.mktemp("night") / "project", SMALL)
    done = project.night()
    assert done.returncode == 0, done.stdout[-8000:]
    return project, done.stdout
