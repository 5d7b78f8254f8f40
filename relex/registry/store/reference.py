"""Versions by reference: no second copy of the weights, an external logged model that names their DVC hash."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relex.checkpoints.digest import model_sha256
from relex.core.atomic import scratch_folder
from relex.core.errors import InputError
from relex.core.workspace import STATE
from relex.registry.store import dvc_objects
from relex.registry.store.night import inside_project

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel

    from relex.registry.store.versions import Version

PATH_TAG, MD5_TAG = "dvc_path", "dvc_md5"
_MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")


def check(lineage: dict[str, Any]) -> None:
    """InputError unless DVC gives back exactly the model that was decided on."""
    artifact, expected = lineage["artifact"], lineage["model_sha256"]
    if "md5" not in artifact:
        raise InputError(
            "registering by reference needs the model in DVC",
            where=artifact["path"],
            expected=f"an output {artifact['out']} in dvc.lock",
            todo="`dvc repro`, or registry.mode: copy",
        )
    with from_dvc(artifact["path"], artifact["md5"]) as folder:
        found = model_sha256(folder)
    if found != expected:
        raise InputError(
            "DVC holds another model than was evaluated",
            where=artifact["path"],
            expected=f"model {expected[:12]}",
            found=f"model {found[:12]}",
            todo="`dvc repro`, or `dvc commit`",
        )


def tags(lineage: dict[str, Any]) -> dict[str, str]:
    """What `resolve` needs to find the weights again, for the logged model."""
    return {
        PATH_TAG: lineage["artifact"]["path"],
        MD5_TAG: lineage["artifact"]["md5"],
        "mlflow.model.isExternal": "true",
    }


def save(staged: Path, model: LoggedModel) -> None:
    """The MLmodel file that an external model consists of, as mlflow.create_external_model writes it."""
    from mlflow.models.utils import get_external_mlflow_model_spec

    staged.mkdir()
    get_external_mlflow_model_spec(model).save(str(staged / "MLmodel"))


def resolve(version: Version, out: Path) -> None:
    """Put the checkpoint that a version refers to into the empty folder `out`."""
    with _tagged(version) as folder:
        for path in folder.iterdir():
            path.rename(out / path.name)


def sizes(version: Version) -> dict[str, int]:
    """Bytes of every file of the checkpoint that a version refers to, by its path in it."""
    with _tagged(version) as folder:
        return {p.relative_to(folder).as_posix(): p.stat().st_size for p in folder.rglob("*") if p.is_file()}


@contextmanager
def _tagged(version: Version) -> Iterator[Path]:
    path, md5 = version.tags.get(PATH_TAG, ""), version.tags.get(MD5_TAG, "")
    if not path or not _MD5.fullmatch(md5):
        raise InputError("the version does not say where its weights are", where=version, found=f"{path!r}, {md5!r}")
    with from_dvc(path, md5) as folder:
        yield folder


@contextmanager
def from_dvc(path: str, md5: str) -> Iterator[Path]:
    """The folder `path` of the project as it is in the DVC output with hash `md5`, for a while; errors as get's."""
    inside = inside_project(path).parts[1:]
    with scratch_folder(STATE, "resolve") as temporary:
        dvc_objects.get(md5, temporary / "out")
        folder = (temporary / "out").joinpath(*inside)
        if not folder.is_dir():
            raise InputError("the DVC output does not hold this folder", where=path, found=f"md5 {md5}")
        yield folder
