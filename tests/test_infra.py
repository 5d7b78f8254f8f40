"""infra/: the compose file against the compose specification, and what it promises against what is there."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.builders import ROOT

INFRA = ROOT / "infra"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return YAML(typ="safe", pure=True).load((INFRA / "compose.yaml").read_text())


def test_the_compose_file_follows_the_compose_specification(tmp_path: Path) -> None:
    def check(path: Path) -> subprocess.CompletedProcess[str]:
        command = [Path(sys.executable).parent / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", path]
        return subprocess.run(command, capture_output=True, text=True)

    assert check(INFRA / "compose.yaml").returncode == 0
    wrong = tmp_path / "compose.yaml"
    wrong.write_text("services: {mlflow: {imagee: x}}")
    assert check(wrong).returncode != 0


def test_every_service_volume_and_config_that_is_named_exists(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert {"mlflow", "postgres", "objects", "prefect", "worker"} <= services.keys()
    for service in services.values():
        assert set(service.get("depends_on", {})) <= services.keys()
        for needed, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[needed]
        for config in service.get("configs", []):
            assert config["source"] in compose["configs"]
        for volume in service.get("volumes", []):
            name = volume.split(":")[0]
            assert name in compose["volumes"] or name.startswith("${")


@pytest.mark.parametrize(("profile", "worker"), [("cpu", "worker"), ("cuda", "worker-cuda")])
def test_a_profile_starts_one_kind_of_worker_on_the_pool(compose: dict[str, Any], profile: str, worker: str) -> None:
    started = {name for name, service in compose["services"].items() if profile in service.get("profiles", [profile])}
    on_pool = {name for name in started if "worker" in compose["services"][name].get("command", [])}
    assert on_pool == {worker}
    assert f"Dockerfile.{profile}" in compose["services"][worker]["build"]["dockerfile"]


def test_every_variable_that_the_compose_file_speaks_of_is_used_in_it() -> None:
    text = (INFRA / "compose.yaml").read_text()
    named = set(re.findall(r"#.*?\b([A-Z]+_[A-Z_]+)=", text))
    assert {name for name in named if not re.search(rf"^[^#]*\b{name}\b", text, re.MULTILINE)} == set()


def test_every_dockerfile_copies_files_that_exist(compose: dict[str, Any]) -> None:
    builds = {service["build"]["dockerfile"] for service in compose["services"].values() if "build" in service}
    assert builds == {f"infra/{path.name}" for path in INFRA.glob("Dockerfile.*")}
    for path in INFRA.glob("Dockerfile.*"):
        for sources in re.findall(r"^COPY (.+) \S+$", path.read_text(), re.MULTILINE):
            for source in sources.split():
                assert (INFRA.parent / source).exists(), f"{path.name}: COPY {source}"


def test_the_images_carry_the_versions_that_this_project_is_pinned_to() -> None:
    mlflow = (INFRA / "Dockerfile.mlflow").read_text()
    assert f"mlflow=={version('mlflow')}" in mlflow
    assert f"prefecthq/prefect:{version('prefect')}-python3.11" in (INFRA / "compose.yaml").read_text()
    torch = version("torch").split("+")[0]
    for name in ("cpu", "cuda"):
        assert f"torch=={torch}" in (INFRA / f"Dockerfile.{name}").read_text()


def test_no_password_stands_in_a_committed_file(compose: dict[str, Any]) -> None:
    text = (INFRA / "compose.yaml").read_text()
    for variable in ("POSTGRES_PASSWORD", "OBJECTS_SECRET"):
        assert f"${{{variable}" in text
        assert re.search(rf"^{variable}=change-me", (INFRA / "compose.env.example").read_text(), re.MULTILINE)
