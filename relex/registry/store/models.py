"""The model behind a version: uploaded as a whole (`copy`) or named by its DVC hash (`reference`)."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relex.checkpoints.digest import model_sha256
from relex.core import workspace
from relex.core.atomic import scratch_folder, write_json, write_text
from relex.core.digest import file_sha256
from relex.core.errors import CorruptArtifact, InputError
from relex.params.registry import Registered
from relex.registry.store import packaging, reference
from relex.registry.store.connection import Connection
from relex.registry.store.facts import flat as lineage_flat
from relex.registry.store.packaging import CARD, CHECKPOINT
from relex.registry.store.versions import MODEL_TAG, Version

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel

LINEAGE = "lineage.json"
OURS = frozenset({LINEAGE, CARD})  # beside the weights, and no part of what a model is
MODE_TAG = "mode"
_VERSIONS_TAG = "mlflow.modelVersions"
_PARAMS = ("base", "window", "codec", "rank", "fit", "anchor", "shrink", "target", "training_seconds", "git_commit")
_PARAM_LIMIT = 500


def check_unchanged(folder: Path, expected: str) -> None:
    """InputError unless `folder` holds the model that was evaluated and decided on: weights and all beside them."""
    if not folder.is_dir():
        raise InputError("the winner's folder is gone", where=folder, todo="dvc checkout, then relex register")
    found = model_sha256(folder)
    if found != expected:
        raise InputError(
            "the model changed after it was evaluated",
            where=folder,
            expected=f"model {expected[:12]}",
            found=f"model {found[:12]} (weights, configuration and tokenizer together)",
            todo="`dvc checkout` brings the evaluated files back; `dvc repro` evaluates the new ones",
        )


def upload(
    connection: Connection,
    params: Registered,
    run: str,
    folder: Path,
    lineage: dict[str, Any],
    card: str,
    *,
    max_tokens: int,
    beside: Mapping[str, Path] | None = None,
) -> str:
    """The id of the logged model that carries `folder`; the same model is uploaded once per mode.

    max_tokens: of the example. beside: folders to keep beside the checkpoint, by the path that they get there.
    """
    experiment = connection.experiment_id(connection.experiment)
    mode = params.registry.mode
    model = _find(connection, experiment, lineage["model_sha256"], mode)
    if model is None:
        if mode == "reference":
            reference.check(lineage)
        tags = {MODEL_TAG: lineage["model_sha256"], **mode_tags(mode, lineage)}
        tags["mlflow.note.content"] = lineage["decision"]["sentence"]
        flat = lineage_flat(lineage)
        shown = {name: flat[name][:_PARAM_LIMIT] for name in _PARAMS if name in flat}
        model = connection.client.create_logged_model(experiment, lineage["winner"], run, tags, shown, model_type="llm")
    if str(model.status) == "READY":
        return model.model_id
    with scratch_folder(workspace.STATE, "upload") as temporary:
        staged = temporary / "staged"
        if mode == "copy":
            packaging.save(staged, params, model, run, folder, lineage, card, max_tokens)
        else:
            reference.save(staged, model)
        for place, source in (beside or {}).items():
            shutil.copytree(source, staged / place)
        write_text(staged / CARD, card)
        beside_weights = {
            path.relative_to(staged).as_posix(): file_sha256(path)
            for path in sorted(staged.rglob("*"))
            if path.is_file() and path.relative_to(staged).parts[0] not in (CHECKPOINT, CARD)
        }
        files = _files(staged / CHECKPOINT if mode == "copy" else folder)
        write_json(staged / LINEAGE, {**lineage, "files": files, "packaging": beside_weights})
        connection.client.log_model_artifacts(model.model_id, str(staged))
    connection.client.finalize_logged_model(model.model_id, "READY")
    return model.model_id


def link(connection: Connection, model_sha256: str, mode: str, number: str) -> None:
    """Name the version on its logged model's page. A server does so itself, a database does not."""
    model = _find(connection, connection.experiment_id(connection.experiment), model_sha256, mode)
    if model is None:
        return
    others = [item for item in json.loads(model.tags.get(_VERSIONS_TAG, "[]")) if item["name"] != connection.model]
    named = json.dumps([*others, {"name": connection.model, "version": number}])
    if model.tags.get(_VERSIONS_TAG) != named:
        connection.client.set_logged_model_tags(model.model_id, {_VERSIONS_TAG: named})


def mode_tags(mode: str, lineage: dict[str, Any]) -> dict[str, str]:
    """How the weights are found, for the tags of the logged model and of the version."""
    return {MODE_TAG: mode, **(reference.tags(lineage) if mode == "reference" else {})}


def download(connection: Connection, version: Version, out: Path) -> None:
    """Put a version's checkpoint into the empty folder `out`, with its card and lineage.

    InputError when files are gone. The caller checks the model.
    """
    import mlflow

    if version.tags.get(MODE_TAG) == "reference":
        reference.resolve(version, out)
    else:
        with scratch_folder(out.parent, "download") as temporary:
            with _gone_means_gone(version):
                # MLflow refuses artifact names that leave the destination.
                source = f"{_source(connection, version)}/{CHECKPOINT}"
                got = Path(mlflow.artifacts.download_artifacts(artifact_uri=source, dst_path=str(temporary)))
            if not got.is_dir() or not any(got.iterdir()):
                raise _files_gone(version)
            shutil.copytree(got, out, dirs_exist_ok=True)
    facts, card = read_lineage(connection, version), _read(connection, version, CARD)
    write_json(out / LINEAGE, facts)
    write_text(out / CARD, card)


def read_lineage(connection: Connection, version: Version) -> dict[str, Any]:
    """The lineage.json that a version was registered with; InputError when it is gone."""
    try:
        return json.loads(_read(connection, version, LINEAGE))
    except ValueError:
        raise _files_gone(version, LINEAGE) from None


def check_packaging(connection: Connection, version: Version) -> None:
    """CorruptArtifact unless all that MLflow's own clients read beside the checkpoint is what was uploaded.

    That is the MLmodel file and, for them, a tokenizer of its own: what they say hangs on those.
    """
    with scratch_folder(workspace.STATE, "packaging") as temporary:
        download_beside(connection, version, "", temporary)


def download_beside(connection: Connection, version: Version, place: str, out: Path) -> None:
    """Put what lies beside the checkpoint below `place` into `out`, under the same paths.

    CorruptArtifact for a file that is not what was uploaded, InputError for one that is gone.
    """
    import mlflow

    recorded: dict[str, str] = read_lineage(connection, version).get("packaging", {})
    for name, expected in recorded.items():
        if not name.startswith(place):
            continue
        folder = (out / name).parent
        folder.mkdir(parents=True, exist_ok=True)
        with _gone_means_gone(version, name):
            uri = f"{_source(connection, version)}/{name}"
            got = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(folder)))
        found = file_sha256(got)
        if found != expected:
            raise CorruptArtifact("a file changed", where=f"{version}: {name}", expected=expected, found=found)


def check_present(connection: Connection, version: Version) -> None:
    """InputError unless every file that a version was registered with is where it was put, at its size.

    Sizes only: hashing means fetching all of it, which fetch.check_stored does.
    """
    recorded: dict[str, Any] = read_lineage(connection, version)["files"]
    if version.tags.get(MODE_TAG) == "reference":
        present = reference.sizes(version)
    else:
        with _gone_means_gone(version):
            present = dict(_listing(f"{_source(connection, version)}/{CHECKPOINT}", ""))
    wrong = [name for name, (size, _) in recorded.items() if present.get(name) != size]
    if wrong:
        raise _files_gone(version, wrong[0])


def _source(connection: Connection, version: Version) -> str:
    return connection.client.get_model_version_download_uri(version.name, version.number)


def _read(connection: Connection, version: Version, name: str) -> str:
    import mlflow

    with _gone_means_gone(version, name):
        return mlflow.artifacts.load_text(f"{_source(connection, version)}/{name}")


def _listing(source: str, folder: str) -> Iterator[tuple[str, int]]:
    """Every file below an artifact URI as (path below it, bytes)."""
    import mlflow

    for entry in mlflow.artifacts.list_artifacts(artifact_uri=source):
        name = Path(entry.path).name
        if entry.is_dir:
            yield from _listing(f"{source}/{name}", f"{folder}{name}/")
        else:
            yield f"{folder}{name}", entry.file_size


@contextlib.contextmanager
def _gone_means_gone(version: Version, file: str = "") -> Iterator[None]:
    """InputError for what the kinds of artifact stores raise when a file is not there."""
    import mlflow

    try:
        yield
    except FileNotFoundError:
        raise _files_gone(version, file) from None
    except (OSError, mlflow.MlflowException) as error:
        if any(sign in str(error) for sign in ("No such", "does not exist", "404", "Failed to download")):
            raise _files_gone(version, file) from None
        raise


def _files_gone(version: Version, file: str = "") -> InputError:
    return InputError(
        "the version's files are gone from the artifact store",
        where=version,
        found=f"{file} missing or cut short" if file else "",
        todo="a registry in a file is read in the folder that it lies in, `relex relocate` mends one that was moved; "
        "`relex rebuild` makes the same weights again from the DVC artifacts",
    )


def _find(connection: Connection, experiment: str, model_sha256: str, mode: str) -> LoggedModel | None:
    """A logged model of this content: a complete one if there is, else one that a killed upload left open."""
    query = f"tags.{MODEL_TAG} = '{model_sha256}' AND tags.{MODE_TAG} = '{mode}'"
    found = connection.client.search_logged_models([experiment], query)
    return min(found, key=lambda model: (str(model.status) != "READY", model.creation_timestamp), default=None)


def _files(folder: Path) -> dict[str, list[Any]]:
    """Size and SHA-256 of every file below `folder` that makes the model."""
    return {
        path.relative_to(folder).as_posix(): [path.stat().st_size, file_sha256(path)]
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in OURS
    }
