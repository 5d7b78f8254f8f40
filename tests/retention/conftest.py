"""A project under Git, DVC and MLflow, whose nights are saved as the flow saves them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builders.saved_nights import Nights, change_retention, enter
from tests.registry.conftest import project, template  # noqa: F401


@pytest.fixture
def nights(project: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Nights]:  # noqa: F811
    """Makes nights in the copied project. Call it with the section `retention` and others of `registry`."""
    environment = dict(os.environ)
    enter(environment)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def make(retention: str, **registry: str) -> Nights:
        return Nights(change_retention(retention, **registry))

    return make
