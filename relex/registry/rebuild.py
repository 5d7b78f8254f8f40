"""Making a version's weights again from the DVC artifacts that its lineage names."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from relex.checkpoints.digest import weights_sha256
from relex.core.atomic import scratch_folder
from relex.core.errors import CorruptArtifact, InputError
from relex.core.workspace import STATE
from relex.params.load import Params
from relex.registry.store import dvc_objects, models, versions
from relex.registry.store.connection import connect, registry_errors


def rebuild(params: Params, name: str, version: str, out: Path | None = None) -> str:
    """Predict the weights again from base and window, and say whether they are the registered ones, bit for bit.

    Nothing but the version is asked for: base and trajectory come out of DVC by hash. With `out`, the rebuilt folder
    is kept. InputError when DVC has the artifacts no more; CorruptArtifact when they are not the recorded ones.
    """
    if out is not None and out.exists():
        raise InputError("the output already exists", where=out, todo="remove it or name another output")
    with registry_errors(params):
        connection = connect(params)
        found = versions.find(connection, versions.parse(f"{name}/{version}"))
        facts = models.read_lineage(connection, found)
    with scratch_folder(STATE, "rebuild") as temporary:
        made = _make(facts, temporary)
        weights = weights_sha256(made)
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(made, out)
    if weights == found.weights_sha256:
        return f"{found}: rebuilt from the DVC artifacts, identical (weights {weights[:12]})"
    return (
        f"{found}: rebuilt, NOT identical: weights {weights[:12]}, registered {found.weights_sha256[:12]}. "
        f"Made with {facts['software']}, on {facts['git']['commit']}; arithmetic on another machine may round otherwise"
    )


def _make(facts: dict[str, Any], folder: Path) -> Path:
    from relex.stages.extrapolate.stage import extrapolate_folder
    from relex.trajectory import manifest
    from relex.trajectory.materialize import materialize
    from relex.window.request import Request

    base, trajectory = folder / "base", folder / "trajectory"
    for name, path in (("base", base), ("trajectory", trajectory)):
        if name not in facts["dvc"]:
            raise InputError("the version was made from artifacts that were not in DVC", where=name)
        dvc_objects.get(facts["dvc"][name], path)
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
    extrapolate_folder(trajectory, base, Request.of_facts(facts["extrapolate"]), folder / "candidates")
    return folder / "candidates" / f"step_{facts['step']:06d}"
