"""infra/kubernetes/: every manifest against the schemas of Kubernetes, and what it promises against compose.yaml."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from prefect.utilities.templating import apply_values
from ruamel.yaml import YAML

from tests.builders import ROOT

FOLDER = ROOT / "infra" / "kubernetes"
BASE, OVERLAYS = FOLDER / "base", sorted((FOLDER / "overlays").iterdir())
# The releases of Kubernetes between which the manifests are held against their schemas.
RELEASES = ("1.30", "1.34")
# Whose pods may not run as root, and what of compose.yaml is not here: the worker runs elsewhere, buckets are made by
# MLflow's own pod.
IMAGES_OF_COMPOSE = {"postgres", "objects", "mlflow", "prefect"}


def documents(path: Path) -> list[dict[str, Any]]:
    return [one for one in YAML(typ="safe", pure=True).load_all(path.read_text()) if one]


def kustomization(folder: Path) -> dict[str, Any]:
    (found,) = documents(folder / "kustomization.yaml")
    return found


@pytest.fixture(scope="module")
def manifests() -> list[dict[str, Any]]:
    """Every object of the base."""
    return [one for name in kustomization(BASE)["resources"] for one in documents(BASE / name)]


def pods(manifests: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    found = [
        (one["metadata"]["name"], one["spec"]["template"]["spec"])
        for one in manifests
        if "template" in one.get("spec", {})
    ]
    assert found
    return found


@pytest.mark.parametrize("release", RELEASES)
def test_every_manifest_is_one_that_kubernetes_takes(manifests: list[dict[str, Any]], release: str) -> None:
    for one in manifests:
        kubernetes_validate.validate(one, release, strict=True)
    wrong = copy.deepcopy(next(one for one in manifests if one["kind"] == "Deployment"))
    wrong["spec"]["template"]["spec"]["parallelism"] = 1
    with pytest.raises(kubernetes_validate.ValidationError, match="parallelism"):
        kubernetes_validate.validate(wrong, release, strict=True)


def test_the_base_lists_every_file_and_nothing_else() -> None:
    found = kustomization(BASE)
    assert {path.name for path in BASE.glob("*.yaml")} == {*found["resources"], "kustomization.yaml"}
    for generated in found["configMapGenerator"]:
        assert all((BASE / name).is_file() for name in generated.get("files", []))


@pytest.mark.parametrize("folder", OVERLAYS, ids=lambda folder: folder.name)
def test_an_overlay_patches_what_is_there(folder: Path, manifests: list[dict[str, Any]]) -> None:
    found = kustomization(folder)
    assert [(folder / name).resolve() for name in found["resources"]] == [BASE]
    for patch in found.get("patches", []):
        target = patch["target"]
        (one,) = [m for m in manifests if (m["kind"], m["metadata"]["name"]) == (target["kind"], target["name"])]
        for change in YAML(typ="safe", pure=True).load(patch["patch"]):
            value: Any = one
            for key in change["path"].strip("/").split("/"):
                value = value[key]
            assert change["op"] == "replace"
    named = {container["image"].split(":")[0] for _, pod in pods(manifests) for container in pod["containers"]}
    assert {image["name"] for image in found["images"]} <= named
    assert found["images"][0]["newTag"] == folder.name
    assert (ROOT / "infra" / f"Dockerfile.{folder.name}").is_file()


@pytest.mark.parametrize("folder", OVERLAYS, ids=lambda folder: folder.name)
def test_the_job_of_a_night_is_one_that_kubernetes_takes(folder: Path, tmp_path: Path) -> None:
    for path in (BASE / "job-template.json", folder / "job-variables.json"):
        shutil.copy(path, tmp_path)
    command = [sys.executable, BASE / "work_pool.py", tmp_path]
    template = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    properties, job = template["variables"]["properties"], template["job_configuration"]
    assert set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(job))) == set(properties)
    assert set(template["variables"]["required"]) <= set(properties)
    values = {name: facts["default"] for name, facts in properties.items() if "default" in facts}
    values |= {"name": "night", "command": ["prefect", "flow-run", "execute"]}
    manifest = apply_values(job["job_manifest"], values)
    for release in RELEASES:
        kubernetes_validate.validate(manifest, release, strict=True)
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"relex:{folder.name}"
    assert container["resources"].get("limits", {}).get("nvidia.com/gpu", 0) == (folder.name == "cuda")


def test_an_overlay_with_a_variable_that_the_template_lacks_is_refused(tmp_path: Path) -> None:
    shutil.copy(BASE / "job-template.json", tmp_path)
    (tmp_path / "job-variables.json").write_text('{"gpu": 1}')
    done = subprocess.run(
        [sys.executable, BASE / "work_pool.py", tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "gpu" in done.stderr


def test_what_a_pod_refers_to_is_there(manifests: list[dict[str, Any]]) -> None:
    found = kustomization(BASE)
    secrets = {
        line.split("=")[0] for line in (BASE / "secrets.env.example").read_text().splitlines() if line[:1] != "#"
    }
    maps = {generated["name"] for generated in found["configMapGenerator"]}
    claims = {one["metadata"]["name"] for one in manifests if one["kind"] == "PersistentVolumeClaim"}
    services = {
        one["metadata"]["name"]: one["spec"]["ports"][0]["port"] for one in manifests if one["kind"] == "Service"
    }
    template = json.loads((BASE / "job-template.json").read_text())["job_configuration"]["job_manifest"]
    for _, pod in [*pods(manifests), ("night", template["spec"]["template"]["spec"])]:
        volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
        for volume in volumes.values():
            assert volume.get("configMap", {}).get("name", "databases") in maps
            assert volume.get("persistentVolumeClaim", {}).get("claimName", "project") in claims
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            for mount in container.get("volumeMounts", []):
                assert mount["name"] in volumes or mount["name"] == "data"
            for variable in container.get("env", []):
                key = variable.get("valueFrom", {}).get("secretKeyRef", {"name": "relex", "key": "PROJECT_URL"})
                assert (key["name"], key["key"] in secrets) == ("relex", True)
        for host, port in re.findall(r"(?:http://|@)(\w+):(\d+)", json.dumps(pod)):
            assert services[host] == int(port)


def test_the_cluster_runs_what_compose_runs(manifests: list[dict[str, Any]]) -> None:
    services = YAML(typ="safe", pure=True).load((ROOT / "infra" / "compose.yaml").read_text())["services"]
    for name, pod in pods(manifests):
        (container,) = pod["containers"]
        if name in IMAGES_OF_COMPOSE:
            assert container["image"] == services[name]["image"]
        if name == "worker":
            assert container["image"] == f"{services['prefect']['image']}-kubernetes"
    mlflow = dict(pods(manifests))["mlflow"]["containers"][0]["args"]
    assert [word.replace("$(", "${") for word in mlflow] == [
        word.replace("}@", ")@") for word in services["mlflow"]["command"]
    ]
    for name in ("nightly", "promote", "rollback"):
        here, there = (
            next(one for one in documents(path)[0]["deployments"] if one["name"] == name)
            for path in (FOLDER / "prefect.yaml", ROOT / "infra" / "prefect.yaml")
        )
        for key in ("entrypoint", "schedules", "concurrency_limit"):
            assert here.get(key) == there.get(key)


def test_no_password_is_under_version_control() -> None:
    done = subprocess.run(
        ["git", "check-ignore", "--quiet", "infra/kubernetes/base/secrets.env"], cwd=ROOT, check=False
    )
    assert done.returncode == 0


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl here")
@pytest.mark.parametrize("folder", OVERLAYS, ids=lambda folder: folder.name)
def test_kustomize_renders_what_kubernetes_takes(folder: Path, tmp_path: Path) -> None:
    there = shutil.copytree(FOLDER, tmp_path / "kubernetes")
    shutil.copy(there / "base" / "secrets.env.example", there / "base" / "secrets.env")
    command = ["kubectl", "kustomize", str(there / "overlays" / folder.name)]
    rendered = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = [one for one in YAML(typ="safe", pure=True).load_all(rendered) if one]
    for one in found:
        kubernetes_validate.validate(one, RELEASES[-1], strict=True)
    images = {c["image"] for _, pod in pods(found) for c in pod["containers"]}
    assert f"relex:{folder.name}" in images
    assert {one["metadata"]["namespace"] for one in found if one["kind"] != "Namespace"} == {"relex"}
