"""infra/kubernetes/: the overlays against the Kubernetes schemas, Prefect's template, and what compose.yaml says.

The overlays are rendered by tests/builders/kustomize.py, and by kubectl, too, where it is there. No cluster is tried.
"""

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
from prefect.utilities.dockerutils import get_prefect_image_name
from prefect.utilities.schema_tools import is_valid_schema, validate
from prefect.utilities.templating import apply_values

from tests.builders import ROOT
from tests.builders.kustomize import Resource, load, render
from tests.builders.pages import commands

INFRA = ROOT / "infra"
OVERLAYS = ("cpu", "cuda")
OLDEST, NEWEST = "1.29", "1.37"  # of Kubernetes


@pytest.fixture
def kubernetes(tmp_path: Path) -> Path:
    """The folder with secrets, as its README has it."""
    folder = tmp_path / "kubernetes"
    shutil.copytree(INFRA / "kubernetes", folder, ignore=shutil.ignore_patterns("secrets.env"))
    shutil.copy(folder / "base/secrets.env.example", folder / "base/secrets.env")
    return folder


def check(resources: list[Resource], release: str = NEWEST) -> None:
    """ValidationError for a resource that a release of Kubernetes would refuse, and for a key that it does not know."""
    for resource in resources:
        kubernetes_validate.validate(resource, release, strict=True)


def pods(resources: list[Resource]) -> dict[str, Resource]:
    """Every pod's spec, by the name of what makes it."""
    return {
        one["metadata"]["name"]: one["spec"]["template"]["spec"]
        for one in resources
        if "template" in one.get("spec", {})
    }


def labels(resource: Resource) -> dict[str, str] | None:
    """Those of the pods that a resource makes."""
    return resource.get("spec", {}).get("template", {}).get("metadata", {}).get("labels")


def variables(pod: Resource) -> dict[str, Any]:
    """The environment of a pod's first container: values, or the key of the secret."""
    listed = pod["containers"][0].get("env", [])
    return {one["name"]: one.get("value") or one["valueFrom"]["secretKeyRef"]["key"] for one in listed}


def template(kubernetes: Path, overlay: str) -> Resource:
    """The work pool as the worker's pod makes it: of the ConfigMap's files, by its script."""
    folder = kubernetes.parent / f"work-pool-{overlay}"
    folder.mkdir()
    for name, text in render(kubernetes / "overlays" / overlay)["ConfigMap", "work-pool"]["data"].items():
        (folder / name).write_text(text)
    done = subprocess.run([sys.executable, folder / "work_pool.py", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def job(pool: Resource, asked: dict[str, Any]) -> Resource:
    """The Job that Prefect makes of the template for a deployment's job variables, without its own labels."""
    known = pool["variables"]["properties"]
    values = {name: one["default"] for name, one in known.items() if "default" in one} | asked
    validate(values, pool["variables"], raise_on_error=True)
    return apply_values(copy.deepcopy(pool["job_configuration"]), values)["job_manifest"]


@pytest.mark.parametrize(("overlay", "release"), [("cpu", OLDEST), ("cuda", NEWEST)])
def test_every_resource_follows_the_schemas_of_kubernetes(kubernetes: Path, overlay: str, release: str) -> None:
    check(list(render(kubernetes / "overlays" / overlay).values()), release)


@pytest.mark.parametrize(
    ("file", "right", "wrong"),
    [
        ("base/mlflow.yaml", "containerPort: 5000", "containerPort: http"),
        ("base/worker.yaml", "serviceAccountName", "serviceAccountNames"),
        ("base/postgres.yaml", "requests: {cpu: 100m", "requests: {cpu: [1]"),
    ],
)
def test_a_wrong_manifest_is_refused(kubernetes: Path, file: str, right: str, wrong: str) -> None:
    text = (kubernetes / file).read_text()
    (kubernetes / file).write_text(text.replace(right, wrong))
    assert (kubernetes / file).read_text() != text
    with pytest.raises(kubernetes_validate.ValidationError):
        check(load(kubernetes / file))


@pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="no kubectl here; the overlays are rendered without it above"
)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubectl_renders_the_same_resources(kubernetes: Path, overlay: str) -> None:
    command = ["kubectl", "kustomize", kubernetes / "overlays" / overlay]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (kubernetes / "rendered.yaml").write_text(done.stdout)
    rendered = load(kubernetes / "rendered.yaml")
    ours = render(kubernetes / "overlays" / overlay)
    named = {(one["kind"], re.sub(r"-[a-z0-9]{10}$", "", one["metadata"]["name"])): one for one in rendered}
    assert named.keys() == ours.keys()
    for key in (("PersistentVolumeClaim", "project"), ("Job", "clone"), ("Service", "mlflow"), ("Role", "worker")):
        assert named[key] == ours[key]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_a_resource_names_is_there(kubernetes: Path, overlay: str) -> None:
    found = render(kubernetes / "overlays" / overlay)
    made = job(template(kubernetes, overlay), {})
    secret = found["Secret", "relex"]["stringData"].keys()
    for name, pod in pods([*found.values(), made | {"metadata": {"name": "night"}}]).items():
        assert pod["enableServiceLinks"] is False, f"{name}: a Service's variables would be taken for settings"
        claims = {"data"} if ("StatefulSet", name) in found else set()
        volumes = {one["name"]: one for one in pod.get("volumes", [])}
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert {one["name"] for one in container.get("volumeMounts", [])} <= volumes.keys() | claims
            for one in container.get("env", []):
                if "valueFrom" in one:
                    assert one["valueFrom"]["secretKeyRef"]["name"] == "relex"
                    assert one["valueFrom"]["secretKeyRef"]["key"] in secret
        for volume in volumes.values():
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in found
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in found
        if "serviceAccountName" in pod:
            assert ("ServiceAccount", pod["serviceAccountName"]) in found
    for (kind, name), service in found.items():
        if kind == "Service":
            chosen = [one for one in found.values() if labels(one) == service["spec"]["selector"]]
            assert len(chosen) == 1, name
            ports = {one["containerPort"] for one in chosen[0]["spec"]["template"]["spec"]["containers"][0]["ports"]}
            assert {one["port"] for one in service["spec"]["ports"]} <= ports


def test_what_lasts_is_probed(kubernetes: Path) -> None:
    found = render(kubernetes / "overlays/cpu")
    for (kind, name), one in found.items():
        if kind in ("Deployment", "StatefulSet"):
            container = one["spec"]["template"]["spec"]["containers"][0]
            assert {"readinessProbe", "livenessProbe"} <= container.keys(), name
            ports = {port["name"] for port in container["ports"]}
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                assert container.get(probe, {}).get("httpGet", {}).get("port") in {*ports, None}


def test_the_cluster_runs_what_compose_runs(kubernetes: Path) -> None:
    """Images, databases, buckets, ports, and the variables of a night."""
    (compose,) = load(INFRA / "compose.yaml")
    services, found = compose["services"], render(kubernetes / "overlays/cpu")
    running = pods(list(found.values()))
    for name in ("postgres", "objects", "prefect", "mlflow"):
        assert running[name]["containers"][0]["image"].removesuffix(":latest") == services[name]["image"]
        (port, *_) = found["Service", name]["spec"]["ports"]
        assert str(port["port"]) in {*re.findall(r"\d{4}", json.dumps(services[name])), "5432"}
    assert running["mlflow"]["containers"][0]["args"] == [
        argument.replace("${POSTGRES_PASSWORD}", "$(POSTGRES_PASSWORD)") for argument in services["mlflow"]["command"]
    ]
    assert running["prefect"]["containers"][0]["args"] == services["prefect"]["command"]
    assert running["mlflow"]["initContainers"][0]["args"] == services["buckets"]["command"]
    assert found["ConfigMap", "databases"]["data"]["databases.sql"] == compose["configs"]["databases"]["content"]
    night = variables(job(template(kubernetes, "cpu"), {})["spec"]["template"]["spec"])
    assert night.keys() - {"HOME"} == services["worker"]["environment"].keys() - {"PREFECT_API_URL"} - {"<<"} | (
        services["buckets"]["environment"].keys()
    )
    for variable in ("AWS_ENDPOINT_URL", "MLFLOW_S3_ENDPOINT_URL"):
        assert night[variable] in (services["worker"]["environment"] | services["buckets"]["environment"])[variable]
    worker = running["worker"]
    assert variables(worker)["PREFECT_API_URL"] == services["worker"]["environment"]["PREFECT_API_URL"]
    assert worker["containers"][0]["image"] == get_prefect_image_name(flavor="kubernetes")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_job_of_a_night_is_one_that_prefect_makes_and_kubernetes_takes(kubernetes: Path, overlay: str) -> None:
    pool = template(kubernetes, overlay)
    assert is_valid_schema(pool["variables"]) is None
    placeholders = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(pool["job_configuration"])))
    assert placeholders == pool["variables"]["properties"].keys()
    (deployments,) = load(INFRA / "kubernetes/prefect.yaml")
    for deployment in deployments["deployments"]:
        made = job(pool, deployment["work_pool"].get("job_variables", {}))
        made["metadata"]["generateName"] = "night-"  # the run's name comes in here
        spec = made["spec"]["template"]["spec"]
        # Prefect's worker refuses a template without these two, Kubernetes leaves them out.
        assert (spec.pop("parallelism"), spec.pop("completions")) == (1, 1)
        check([made])
        (container,) = spec["containers"]
        assert container["image"] == f"relex:{overlay}"
        assert {"name": "project", "mountPath": "/project", "subPath": "project"} in container["volumeMounts"]
        (shared,) = [one for one in spec["volumes"] if one["name"] == "shared-memory"]
        assert shared["emptyDir"]["medium"] == "Memory"
        gpus = container["resources"].get("limits", {}).get("nvidia.com/gpu", 0)
        assert gpus == (1 if overlay == "cuda" and deployment["name"] == "nightly" else 0)


def test_a_default_of_an_unknown_variable_is_refused(kubernetes: Path) -> None:
    (kubernetes / "overlays/cpu/job-variables.json").write_text('{"imagee": "relex:cpu"}')
    with pytest.raises(AssertionError, match="KeyError: 'imagee'"):
        template(kubernetes, "cpu")


def test_the_deployments_are_those_of_the_process_pool(kubernetes: Path) -> None:
    (here,), (there,) = load(kubernetes / "prefect.yaml"), load(INFRA / "prefect.yaml")
    assert here["prefect-version"] == there["prefect-version"]
    for ours, theirs in zip(here["deployments"], there["deployments"], strict=True):
        pool = ours.pop("work_pool")
        assert (kubernetes / "base/worker.yaml").read_text().count(pool["name"]) == 2  # made, and polled
        del theirs["work_pool"]
        assert ours == theirs


def test_what_the_page_asks_of_kubectl_is_there(kubernetes: Path) -> None:
    asked = [command for page, command in commands() if page == "infra/README.md" and command.startswith("kubectl")]
    assert len(asked) >= 5
    found = {(kind.lower(), name) for kind, name in render(kubernetes / "overlays/cuda")}
    for command in asked:
        named = re.findall(r"\b(job|deployment|service|statefulset)/(\w+)", command)
        assert set(named) <= found, command
        if not named:
            assert (ROOT / command.split()[-1] / "kustomization.yaml").is_file(), command
        else:
            assert "--namespace relex" in command


def test_no_secret_is_committed(kubernetes: Path) -> None:
    ignored = subprocess.run(
        ["git", "check-ignore", "--quiet", "--no-index", "infra/kubernetes/base/secrets.env"], cwd=ROOT, check=False
    )
    assert ignored.returncode == 0
    (kubernetes / "base/secrets.env").unlink()
    with pytest.raises(FileNotFoundError, match="secrets.env"):
        render(kubernetes / "overlays/cpu")
