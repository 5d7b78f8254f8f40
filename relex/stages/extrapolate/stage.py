"""Stage extrapolate, and `relex extrapolate`: trajectory + forecast -> candidate checkpoints.

One pass for the Gram matrices, one for the sums of all targets; see window/gram.py, forecast/ and combine.py.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from relex.checkpoints.side_files import copy_side_files
from relex.checkpoints.writer import CheckpointWriter
from relex.core import atomic, workspace
from relex.core.timing import timed
from relex.forecast.directed import Directed
from relex.forecast.subspace import Array, explained_share, spectrum
from relex.forecast.weights import r_squared
from relex.stages.extrapolate.combine import write_sums
from relex.stages.extrapolate.controls import Controls
from relex.stages.extrapolate.params import Extrapolate
from relex.stages.extrapolate.targets import auto_targets, beyond
from relex.trajectory.reader import CACHE, Trajectory
from relex.window.device import arithmetic_for
from relex.window.gram import load_cache, save_cache
from relex.window.request import Request
from relex.window.rows import Window
from relex.window.stream import Stream


def run(extrapolate: Extrapolate) -> None:
    """Stage extrapolate: candidates/step_<target>/ and fit.json, observed/, the window's last step, and which step
    that was and which candidates are controls, metrics/extrapolate.json."""
    from relex.trajectory.materialize import materialize  # brings torch, which the command on a folder does without

    with timed("extrapolate"):
        asked = extrapolate.targets
        last = Trajectory(workspace.TRAJECTORY).steps[-1]
        request = Request(auto_targets(workspace.DIAGNOSIS) if asked == "auto" else beyond(asked, last), extrapolate)
        variants = {variant.name: request.vary(**variant.changes()) for variant in extrapolate.variants}
        controls = Controls(extrapolate.controls, request)
        _extrapolate(
            workspace.TRAJECTORY,
            workspace.BASE,
            request,
            workspace.CANDIDATES,
            replace=True,
            thorough=True,  # one of these may be promoted
            variants=variants,
            controls=controls,
        )
        materialize(workspace.TRAJECTORY, workspace.BASE, last, workspace.OBSERVED, replace=True, thorough=True)
        named = {"controls": list(controls.names())} if controls.kinds else {}
        atomic.write_json(workspace.EXTRAPOLATION_METRICS, {"observed_step": last, **named})
    listed = ", ".join(str(target) for target in request.targets)
    more = "".join(f"; {label} {', '.join(str(step) for step in one.targets)}" for label, one in variants.items())
    count = sum(len(one.targets) for one in (request, *variants.values()))
    more += "".join(f"; control {kind}" for kind in controls.kinds)
    print(f"extrapolate: {count} candidates, at steps {listed}{more}; last observed step {last}")


def extrapolate_folder(trajectory: Path, base: Path, request: Request, out: Path, *, ray: str | None = None) -> None:
    """Write out/step_<target>/ per target, a checkpoint folder like `base`, and out/fit.json.

    ray: `local` or the address of a Ray cluster, on which groups of tensors are worked on; the files are the same.
    InputError for a request that does not fit the window, another base, faulty files, or an `out` that exists.
    """
    _extrapolate(trajectory, base, request, out, replace=False, ray=ray)


def _extrapolate(
    trajectory: Path,
    base: Path,
    request: Request,
    out: Path,
    *,
    replace: bool,
    thorough: bool = False,
    ray: str | None = None,
    variants: Mapping[str, Request] = MappingProxyType({}),
    controls: Controls | None = None,
) -> None:
    controls = controls or Controls((), request)
    with (
        atomic.new_folder(out, replace=replace) as folder,
        Window(Trajectory(trajectory), base, thorough=thorough) as window,
    ):
        asked = [request, *variants.values()]
        for one in asked:
            one.check(window.steps, window.names)
        targets = {f"step_{target:06d}": target for target in request.targets}
        for label, variant in variants.items():
            targets |= {f"step_{target:06d}-{label}": target for target in variant.targets}
        targets |= controls.names()
        names = list(targets)
        with contextlib.ExitStack() as stack:
            writers = []
            for name in names:
                (folder / name).mkdir()
                copy_side_files(base, folder / name)
                writers.append(stack.enter_context(CheckpointWriter(folder / name, window.base)))
            cache, manifest = window.trajectory.folder / CACHE, window.trajectory.manifest
            known, cached = load_cache(cache, manifest)
            if ray is None:
                arithmetic = arithmetic_for(request.options.device)
                stream = stack.enter_context(Stream(window, request.options.budget, arithmetic, targets=len(names)))
                sources: list[Request | Controls] = [*asked, *([controls] if controls.kinds else [])]
                before = sum(len(one.targets) for one in asked)

                def signs_of(name: str, gram: Array) -> Array:
                    more = controls.signs(name, gram, window.steps, window.numel(name))
                    return np.concatenate([np.zeros(before), more])

                found = write_sums(
                    stream,
                    lambda name, gram: Directed.joined([one.directed(name, gram, window.steps) for one in sources]),
                    writers,
                    known,
                    cached,
                    signs_of=signs_of if "random" in controls.kinds else None,
                )
            else:
                from relex.stages.extrapolate.on_ray import write_sums_on_ray

                found = write_sums_on_ray(ray, window, base, request, writers, known, cached)
            if known < len(window.steps):
                save_cache(cache, manifest, found)
        fit = describe(window, request, found)
        fit["candidates"] = targets
        fit["controls"] = list(controls.kinds)
        fit["variants"] = {label: variant.facts() for label, variant in variants.items()}
        atomic.write_json(folder / "fit.json", fit)


def describe(window: Window, request: Request, found: dict[str, Array]) -> dict[str, Any]:
    """fit.json without the candidates: what was asked, of which window, and how each tensor fits."""
    rows = request.rows(window.steps)
    steps = np.array([window.steps[row] for row in rows], dtype=np.float64)
    tensors = {}
    for name in window.names:
        sigma, modes = spectrum(found[name][np.ix_(rows, rows)])
        tensors[name] = {
            "forecast": request.moves(name),
            "explained_share": float(explained_share(sigma)[0]),
            "r_squared": r_squared(steps, modes[:, 0]),
            "sigma": sigma.tolist(),
        }
    return {
        "request": request.facts(),
        "trajectory_sha256": window.trajectory.sha256,
        "base_sha256": window.trajectory.base_sha256,
        "steps": [int(step) for step in steps],
        "tensors": tensors,
    }
