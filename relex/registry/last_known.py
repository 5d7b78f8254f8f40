"""Who is champion while the registry is away, as hop.json and history.jsonl know it, and its weights out of DVC."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from relex.checkpoints.digest import model_sha256
from relex.core.atomic import new_folder
from relex.core.errors import CorruptArtifact
from relex.core.hop import Model
from relex.registry import history
from relex.registry.store import dvc_objects, reference


def champion(met: Model | None, name: str) -> tuple[Model | None, str]:
    """The champion of the model `name` as far as files know, and in words why it is that one.

    met: the one that hop.json names. The history's newest move counts where it came
    after that one, and where its weights can be had: in DVC's cache, by the hash that its line names.
    """
    moves = [line for line in history.read() if line["model"] == name]
    said = f"{_called(met)}, as hop.json says"
    if not moves or _is(moves[-1], met):
        return met, said
    if met is not None and not any(_is(line, met) for line in moves):
        return met, f"{said}; {history.HISTORY} does not know it yet"
    newest = moves[-1]
    since = f"champion since {newest['when']} as {history.HISTORY} says"
    if newest["to"] is None:
        return None, f"none, {since}"
    model = _model(newest)
    if model is not None and is_cached(model):
        return model, f"{_called(model)}, {since}"
    artifact = newest.get("artifact", {})
    missing = f"DVC's cache lacks md5 {artifact['md5']}" if artifact else "its line does not say where DVC has it"
    return met, f"{said}, though version {newest['to']} is {since}: {missing}"


def is_cached(model: Model) -> bool:
    """Whether a line of the history says where DVC has this model, and the project's cache has it there."""
    found = _artifact(model)
    return found is not None and dvc_objects.is_cached(found["md5"])


def put(model: Model, folder: Path) -> None:
    """Have its weights in `folder`, out of DVC; CorruptArtifact where those are another model."""
    found = _artifact(model)
    assert found is not None  # is_cached
    with reference.from_dvc(found["path"], found["md5"]) as source:
        if (got := model_sha256(source)) != model.model_sha256:
            raise CorruptArtifact(
                "DVC has another model there than history.jsonl says",
                where=f"{found['path']}, md5 {found['md5']}",
                expected=f"model {model.model_sha256[:12]}",
                found=f"model {got[:12]}",
            )
        with new_folder(folder, replace=True) as temporary:
            shutil.copytree(source, temporary, dirs_exist_ok=True)


def _artifact(model: Model) -> dict[str, str] | None:
    lines = [line for line in history.read() if _model(line) == model and "artifact" in line]
    return lines[-1]["artifact"] if lines else None


def _model(line: dict[str, Any]) -> Model | None:
    """The version that a move made champion; None where the line does not say which model it is."""
    if line["to"] is None or not line.get("model_sha256"):
        return None
    return Model(version=line["to"], model_sha256=line["model_sha256"])


def _is(line: dict[str, Any], met: Model | None) -> bool:
    return line["to"] == (met.version if met is not None else None)


def _called(model: Model | None) -> str:
    return f"version {model.version}" if model is not None else "none"
