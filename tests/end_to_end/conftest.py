"""One small night, run once for all tests that look at what it left."""

from __future__ import annotations

import pytest

from tests.builders.project import SMALL, Project

# Secrets as they stand around a night: in its environment, in the registry's URI, in remotes of Git and DVC.
MARK = "planted-4d1e"
VARIABLES = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "FOO_API_KEY")
REGISTRY = f"sqlite:///mlflow.db?password={MARK}-uri"


def plant(project: Project, store: str) -> None:
    """Put secrets around the nights of `project`; `store` is the folder that its DVC remote is."""
    project.environment |= {name: f"{MARK}-{name}" for name in VARIABLES}
    project.change({"registry.tracking_uri": REGISTRY})
    for command in (
        ["git", "remote", "add", "origin", f"https://user:{MARK}-git@git.example/x.git"],
        ["dvc", "remote", "add", "--local", "--default", "store", store],
        ["dvc", "remote", "add", "--local", "private", f"https://user:{MARK}-dvc@dvc.example/x"],
        ["dvc", "remote", "modify", "--local", "private", "password", f"{MARK}-dvc"],
    ):
        project.run(*command).check_returncode()
    project.run("git", "commit", "-qam", "the registry").check_returncode()


@pytest.fixture(scope="session")
def first_night(tmp_path_factory):
    """A project after its first night, and what the night printed. Tests must leave it as they found it."""
    folder = tmp_path_factory.mktemp("night")
    project = Project.make(folder / "project", SMALL)
    plant(project, str(folder / "store"))
    done = project.night()
    assert done.returncode == 0, done.stdout[-8000:]
    return project, done.stdout
