"""Making a version's weights again from the DVC artifacts that its lineage names."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from relex.checkpoints.digest import model_sha256, weights_sha256
from relex.checkpoints.formed import Formed
from relex.core.atomic import scratch_folder
from relex.core.errors import CorruptArtifact, InputError
from relex.core.workspace import PARAMS, STATE
from relex.params.load import Params, read_params
from relex.registry.fetch import identified
from relex.registry.store import dvc_objects, models, versions
from relex.registry.store.connection import connect, registry_errors
from relex.registry.store.needs import GIVEN_UP_TAG
from relex.registry.store.versions import Version


def of_project() -> Params:
    """All of params.yaml; InputError outside a project: only one's DVC has what weights are made from."""
    if not PARAMS.is_file():
        raise InputError(
            "weights are made again in the DVC project that made them, and this is none",
            where=PARAMS,
            found="no such file",
            todo="run in the project's root; `relex fetch` gets the registered weights anywhere",
        )
    return read_params()


def rebuild(params: Params, version: str, out: Path | None = None) -> str:
    """Predict the weights again from base and window, and say whether they are the registered ones, bit for bit.

    version: as versions.parse reads it; nothing else is asked for: base and trajectory come out of DVC by hash. With
    `out`, the rebuilt folder is kept. InputError when DVC has the artifacts no more, as where retention let go of them;
    CorruptArtifact when they are not the recorded ones.
    """
    if out is not None and out.exists():
        raise InputError("the output already exists", where=out, todo="remove it or name another output")
    with registry_errors(params):
        connection = connect(params, make=False)
        reference = versions.parse(version, params.registry.model)
        found = identified(connection, versions.find(connection, reference))
        facts = models.read_lineage(connection, found)
    with scratch_folder(STATE, "rebuild") as temporary:
        made = _make(facts, temporary, found)
        model = model_sha256(made)
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(made, out)
    if model == found.model_sha256:
        return f"{found}: rebuilt from the DVC artifacts, identical (model {model[:12]})"
    return (
        f"{found}: rebuilt, NOT identical: model {model[:12]}, registered {found.model_sha256[:12]}. "
        f"Made with {facts['software']}, on {facts['git']['commit']}; arithmetic on another machine may round otherwise"
    )


def _make(facts: dict[str, Any], folder: Path, version: Version) -> Path:
    from relex.stages.extrapolate.stage import extrapolate_folder
    from relex.trajectory import manifest
    from relex.trajectory.materialize import materialize
    from relex.window.request import Request

    base, trajectory = folder / "base", folder / "trajectory"
    for name, path in (("base", base), ("trajectory", trajectory)):
        if name not in facts["dvc"]:
            raise InputError(
                "the version was made from artifacts that were not in DVC",
                where=name,
                found=facts.get("proof", {}).get("origin", ""),
            )
        _get(facts["dvc"][name], path, version)
    for what, expected, got in (
        ("base", facts["base"]["weights_sha256"], weights_sha256(base)),
        ("trajectory", facts["trajectory"]["sha256"], manifest.load(trajectory).sha256),
    ):
        if got != expected:
            raise CorruptArtifact(
                "DVC's artifact is another than the recorded one", where=what, expected=expected, found=got
            )
    if facts["kind"] != "candidate":
        materialize(trajectory, base, facts["step"], folder / "observed")
        return folder / "observed"
    request, made = Request.of_facts(facts["extrapolate"]), folder / "candidates" / f"step_{facts['step']:06d}"
    if "formed" not in facts:
        extrapolate_folder(trajectory, base, request, folder / "candidates")
        return made
    request = replace(request, targets=tuple(facts["formed"]))
    extrapolate_folder(trajectory, base, request, folder / "candidates", write="winner")
    written = folder / "written"
    written.mkdir()
    with Formed(made, base) as formed:
        formed.write(written)
    return written


def _get(md5: str, path: Path, version: Version) -> None:
    """The artifact, or InputError: where `relex prune` let go of it, with that as the reason."""
    try:
        dvc_objects.get(md5, path)
    except InputError:
        if GIVEN_UP_TAG not in version.tags:
            raise
        raise InputError(
            "this version cannot be rebuilt any more: retention let go of what it was made from",
            where=version,
            found=f"let go on {version.tags[GIVEN_UP_TAG]}: {path.name}, md5 {md5}",
            todo="its weights are still in the registry (`relex fetch`)",
        ) from None
