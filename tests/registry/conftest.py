"""A project with an empty registry, for every test of the registry.

Making MLflow's tables takes seconds: it is done once a process.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from relex.params.load import Params
from relex.registry.store.connection import connect
from tests.builders.nights import change_params, make_project
from tests.builders.project import enter_copy


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project itself. Tests copy it."""
    folder = tmp_path_factory.mktemp("template") / "project"
    make_project(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        connect(change_params(folder)).client.search_experiments()
    return folder


@pytest.fixture
def project(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, entered."""
    return enter_copy(template, tmp_path, monkeypatch)


@pytest.fixture
def params(project: Path) -> Params:
    """The copy's parameters."""
    return change_params(project)
