"""Stage base: where theta_0 comes from. Embedded (pretrained here), a folder, a package's file, or a hub revision."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from relex.checkpoints.digest import model_sha256, weights_sha256
from relex.core import progress
from relex.core.atomic import new_folder, read_json, write_json
from relex.core.errors import InputError
from relex.core.hop import Model
from relex.core.inputs import follow_folder
from relex.core.timing import timed
from relex.core.workspace import BASE, BASE_METRICS, CHAMPION_WEIGHTS, HELD_OUT, START_WEIGHTS
from relex.stages.base import sound
from relex.stages.base.package import write_checkpoint
from relex.stages.base.params import Base, EmbeddedBase, FolderBase, HubBase, PackageBase

# Pickled weights are never taken, whatever the folder holds.
_WANTED = (
    "*.safetensors",
    "*.safetensors.index.json",
    "*.json",
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "*.jinja",
    "LICENSE*",
)


def run(base: Base, start: Model | None = None) -> None:
    """Write base/ as a Hugging Face checkpoint folder, and metrics/base.json.

    start: of hop.json, the registered model that this hop starts from; None for `base.source`.
    """
    source = base.source
    kind = "champion" if start else source.kind
    with timed("base"):
        with new_folder(BASE, replace=True) as folder:
            metrics: dict[str, Any] = {}
            if start is not None:
                copy_files(weights_of(start), folder)  # by its hash the model that was proven
                metrics = {"version": start.version}
            elif isinstance(source, EmbeddedBase):
                # The corpus must not teach the answers that will be asked for.
                metrics = pretrain_embedded(source, set(read_json(HELD_OUT)), folder)
            elif isinstance(source, FolderBase):
                with progress.at(f"base: copying {source.path}, and reading every weight of it"):
                    copy_folder(Path(source.path), folder)
            elif isinstance(source, PackageBase):
                with progress.at(f"base: writing the model of the package {source.package}"):
                    metrics = write_checkpoint(source, folder)
            else:
                with progress.at(f"base: fetching {source.repo} at {source.revision}"):
                    copy_folder(download(source), folder)
            check_checkpoint(folder)
        follow_folder(folder_of(base, start))
        sha256 = weights_sha256(BASE)
        write_json(BASE_METRICS, {"kind": kind, "weights_sha256": sha256, **metrics})
    print(f"base: {kind}{f' version {start.version}' if start else ''}, weights {sha256[:12]}")


def folder_of(base: Base, start: Model | None) -> Path | None:
    """The folder of this machine that base/ is a copy of; None where it comes from elsewhere."""
    return Path(base.source.path) if start is None and isinstance(base.source, FolderBase) else None


def weights_of(start: Model) -> Path:
    """The folder that holds the model a hop starts from; InputError where neither place has exactly that model."""
    for folder in (CHAMPION_WEIGHTS, START_WEIGHTS):
        if folder.is_dir() and model_sha256(folder) == start.model_sha256:
            return folder
    raise InputError(
        "the weights that this hop starts from are not here, or changed",
        where=f"{CHAMPION_WEIGHTS} and {START_WEIGHTS}",
        expected=f"version {start.version}, model {start.model_sha256[:12]}",
        todo="get them from the registry: relex hop --fetch",
    )


def pretrain_embedded(source: EmbeddedBase, held_out: set[str], folder: Path) -> dict[str, float]:
    """Pretrain the embedded base into `folder`; its metrics."""
    with progress.at("base: importing torch and transformers"):  # only where they are needed
        from relex.stages.base.embedded import pretrain

    return pretrain(source, held_out, folder)


def check_checkpoint(folder: Path, what: str = "the base") -> None:
    """InputError unless `folder` holds config.json and safetensors weights. what: that it is, in the message."""
    if not folder.is_dir():
        raise InputError(f"{what} is missing", where=folder, expected="a Hugging Face checkpoint folder")
    if not (folder / "config.json").is_file():
        raise InputError("not a checkpoint folder", where=folder, expected="config.json", found="no such file")
    if not (folder / "model.safetensors").is_file() and not (folder / "model.safetensors.index.json").is_file():
        raise InputError(
            f"{what} has no safetensors weights",
            where=folder,
            expected="model.safetensors, or shards with model.safetensors.index.json",
            found=", ".join(sorted(path.name for path in folder.iterdir())) or "an empty folder",
            todo="convert pickled weights to safetensors first: they are never loaded here",
        )


def copy_folder(source: Path, folder: Path) -> None:
    """Copy the configuration, tokenizer and safetensors files of a checkpoint folder; InputError for one that is no
    sound model."""
    check_checkpoint(source)
    sound.check(source)
    copy_files(source, folder)


def copy_files(source: Path, folder: Path) -> None:
    """Copy what copy_folder() does, as it is."""
    for path in sorted({path for pattern in _WANTED for path in source.glob(pattern) if path.is_file()}):
        if path.name != "lineage.json":  # of a registered model: what it descends from, not what it is
            shutil.copyfile(path, folder / path.name)


def download(source: HubBase) -> Path:
    """The local snapshot of a hub revision, downloaded when it is not in the Hugging Face cache yet."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(source.repo, revision=source.revision, allow_patterns=list(_WANTED)))
    except (OSError, ValueError) as error:
        raise InputError(
            "the hub revision cannot be had",
            where=f"base.source ({source.repo} at {source.revision})",
            found=" ".join(str(error).split())[:300],
            todo="check the name, the revision, the network and HF_HUB_OFFLINE, or use a folder",
        ) from error
