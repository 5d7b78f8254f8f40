"""An overlay rendered as `kubectl kustomize` does, as far as infra/kubernetes/ uses it, without kubectl."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonpatch
from ruamel.yaml import YAML

Resource = dict[str, Any]


def load(path: Path) -> list[Any]:
    """The documents of a YAML file."""
    return [document for document in YAML(typ="safe", pure=True).load_all(path.read_text()) if document is not None]


def render(folder: Path) -> dict[tuple[str, str], Resource]:
    """(kind, name) -> resource. ValueError for what is not understood, or names nothing that is there."""
    (file,) = load(folder / "kustomization.yaml")
    found: dict[tuple[str, str], Resource] = {}
    for named in file.pop("resources"):
        path = folder / named
        rendered = render(path).values() if path.is_dir() else load(path)
        for resource in rendered:
            if found.setdefault(_key(resource), resource) is not resource:
                raise ValueError(f"{path}: a second {_key(resource)}")
    for kind, secret in (("configMapGenerator", False), ("secretGenerator", True)):
        for one in file.pop(kind, []):
            _generate(found, folder, one, secret=secret)
    for patch in file.pop("patches", []):
        key = (patch["target"]["kind"], patch["target"]["name"])
        if key not in found:
            raise ValueError(f"{folder}: a patch of {key}, which is not there")
        operations = YAML(typ="safe", pure=True).load(patch["patch"])
        found[key] = jsonpatch.apply_patch(found[key], operations)
    for image in file.pop("images", []):
        if not _tag(list(found.values()), image["name"], image["newTag"]):
            raise ValueError(f"{folder}: no container of image {image['name']}")
    namespace = file.pop("namespace")
    for (kind, _), resource in found.items():
        if kind != "Namespace":
            resource["metadata"]["namespace"] = namespace
    if file.keys() - {"apiVersion", "kind"}:
        raise ValueError(f"{folder}: {sorted(file)} is not understood here")
    return found


def _key(resource: Resource) -> tuple[str, str]:
    return resource["kind"], resource["metadata"]["name"]


def _generate(found: dict[tuple[str, str], Resource], folder: Path, one: Resource, *, secret: bool) -> None:
    data = dict(literal.split("=", 1) for literal in one.get("literals", []))
    data |= {name: (folder / name).read_text() for name in one.get("files", [])}
    for name in one.get("envs", []):
        lines = (folder / name).read_text().splitlines()
        data |= dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    key = ("Secret" if secret else "ConfigMap", one["name"])
    if one.get("behavior") == "merge":
        found[key]["data"] |= data
    else:
        text = {"stringData" if secret else "data": data}
        found[key] = {"apiVersion": "v1", "kind": key[0], "metadata": {"name": one["name"]}, **text}


def _tag(part: Any, name: str, tag: str) -> int:
    """Give the image its tag wherever a container names it; how often."""
    if isinstance(part, list):
        return sum(_tag(one, name, tag) for one in part)
    if not isinstance(part, dict):
        return 0
    hit = isinstance(part.get("image"), str) and part["image"].partition(":")[0] == name
    if hit:
        part["image"] = f"{name}:{tag}"
    return hit + sum(_tag(one, name, tag) for one in part.values())
