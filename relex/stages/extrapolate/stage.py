"""Stage extrapolate, and `relex extrapolate`: trajectory + forecast -> candidate checkpoints.

One pass for the Gram matrices, one for the sums of all targets; see window/gram.py, forecast/ and combine.py.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from relex.checkpoints.recipe import has_recipe
from relex.checkpoints.side_files import copy_side_files
from relex.checkpoints.writer import CheckpointWriter
from relex.core import atomic, workspace
from relex.core.choices import Write
from relex.core.timing import timed
from relex.forecast.subspace import Array, explained_share, spectrum
from relex.forecast.weights import r_squared
from relex.stages.extrapolate.combine import write_sums
from relex.stages.extrapolate.controls import Controls
from relex.stages.extrapolate.params import Extrapolate
from relex.stages.extrapolate.rays import Ray, directed_of, rays_of, signs_of
from relex.stages.extrapolate.shared import Shared, most_directions, shared, write_shared
from relex.stages.extrapolate.targets import auto_rays, auto_targets, beyond
from relex.trajectory.reader import CACHE, Trajectory
from relex.window.device import arithmetic_for
from relex.window.gram import grams, load_cache, save_cache
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
        if extrapolate.soup:
            extrapolate = extrapolate.model_copy(update={"soup": beyond(extrapolate.soup, last)})
        request = Request(auto_targets(workspace.DIAGNOSIS) if asked == "auto" else beyond(asked, last), extrapolate)
        variants = _variants(extrapolate, request, last)
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
            write=extrapolate.write,
        )
        materialize(workspace.TRAJECTORY, workspace.BASE, last, workspace.OBSERVED, replace=True, thorough=True)
        named = {"controls": list(controls.names())} if controls.kinds else {}
        atomic.write_json(workspace.EXTRAPOLATION_METRICS, {"observed_step": last, **named})
    listed = ", ".join(str(target) for target in request.targets)
    more = "".join(f"; {label} {', '.join(str(step) for step in one.targets)}" for label, one in variants.items())
    count = sum(len(one.targets) for one in (request, *variants.values()))
    more += "".join(f"; control {kind}" for kind in controls.kinds)
    formed = [name for name in workspace.CANDIDATES.glob("step_*") if has_recipe(name)]
    more += f"; {len(formed)} without files of their own" if extrapolate.write == "winner" else ""
    print(f"extrapolate: {count} candidates, at steps {listed}{more}; last observed step {last}")


def _variants(extrapolate: Extrapolate, request: Request, last: int) -> dict[str, Request]:
    """By name: all at the request's targets, or those that diagnose's scan liked best, each at its own. last: of the
    window's steps."""
    named = {variant.name: variant.changes() for variant in extrapolate.variants}
    for changes in named.values():
        if soup := changes.get("soup"):
            changes["soup"] = beyond(soup, last)
    if extrapolate.rays == "named":
        return {name: request.vary(**changes) for name, changes in named.items()}
    variants: dict[str, Request] = {}
    if not named:
        return variants
    for name, chosen in auto_rays(workspace.DIAGNOSIS).items():
        changes = named[name] | ({"kinds": chosen.kinds} if chosen.kinds else {})
        targets = chosen.targets if extrapolate.targets == "auto" else request.targets
        variants[name] = dataclasses.replace(request.vary(**changes), targets=targets)
    return variants


def extrapolate_folder(
    trajectory: Path, base: Path, request: Request, out: Path, *, ray: str | None = None, write: Write = "all"
) -> None:
    """Write out/step_<target>/ per target, a checkpoint folder like `base`, and out/fit.json.

    ray: `local` or the address of a Ray cluster, on which groups of tensors are worked on; the files are the same.
    write: `winner` has recipes and directions (shared.py) in the place of weights, where these take less.
    InputError for a request that does not fit the window, another base, faulty files, or an `out` that exists.
    """
    _extrapolate(trajectory, base, request, out, replace=False, ray=ray, write=write)


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
    write: Write = "all",
) -> None:
    controls = controls or Controls((), request)
    with (
        atomic.new_folder(out, replace=replace) as folder,
        Window(Trajectory(trajectory), base, thorough=thorough) as window,
    ):
        for one in (request, *variants.values()):
            one.check(window.steps, window.names)
        rays = rays_of(window, request, variants, controls)
        formed: list[Shared] = []
        if ray is not None:
            found = _on_ray(ray, window, base, request, folder, rays)
        else:
            found, formed = _on_this_machine(window, base, request, folder, rays, write)
        fit = describe(window, request, found)
        fit["candidates"] = {name: target for one in rays for name, target in one.candidates.items()}
        fit["controls"] = list(controls.kinds)
        fit["variants"] = {label: variant.facts() for label, variant in variants.items()}
        if formed:
            fit["formed"] = {one.ray.name: list(one.ray.candidates.values()) for one in formed}
        atomic.write_json(folder / "fit.json", fit)


def _on_this_machine(
    window: Window, base: Path, request: Request, folder: Path, rays: Sequence[Ray], write: Write
) -> tuple[dict[str, Array], list[Shared]]:
    """Write all candidates; G of every tensor that moves, and the rays whose candidates became recipes."""
    cache, manifest, budget = window.trajectory.folder / CACHE, window.trajectory.manifest, request.options.budget
    formed: list[Shared] = []
    if write == "all":
        known, cached = load_cache(cache, manifest)
    else:
        known, cached = len(window.steps), grams(window, device=request.options.device, budget=budget)
        formed = [less for one in rays if (less := shared(window, one, cached))]
    written = [one for one in rays if one not in [other.ray for other in formed]]
    rows = max(most_directions(formed), sum(len(one.candidates) for one in written))
    with contextlib.ExitStack() as stack:
        writers = _writers(stack, window, base, folder, written)
        stream = stack.enter_context(Stream(window, budget, arithmetic_for(request.options.device), targets=rows))
        if formed:
            write_shared(stream, formed, base, folder)
        if not written:
            return cached, formed
        found = write_sums(stream, directed_of(written), writers, known, cached, signs_of=signs_of(written))
    if known < len(window.steps):
        save_cache(cache, manifest, found)
    return found, formed


def _on_ray(
    address: str, window: Window, base: Path, request: Request, folder: Path, rays: Sequence[Ray]
) -> dict[str, Array]:
    from relex.stages.extrapolate.on_ray import write_sums_on_ray

    cache, manifest = window.trajectory.folder / CACHE, window.trajectory.manifest
    known, cached = load_cache(cache, manifest)
    with contextlib.ExitStack() as stack:
        writers = _writers(stack, window, base, folder, rays)
        found = write_sums_on_ray(address, window, base, request, writers, known, cached)
    if known < len(window.steps):
        save_cache(cache, manifest, found)
    return found


def _writers(
    stack: contextlib.ExitStack, window: Window, base: Path, folder: Path, rays: Sequence[Ray]
) -> list[CheckpointWriter]:
    """One a candidate, over a folder with the base's side files."""
    writers = []
    for name in (name for one in rays for name in one.candidates):
        (folder / name).mkdir()
        copy_side_files(base, folder / name)
        writers.append(stack.enter_context(CheckpointWriter(folder / name, window.base)))
    return writers


def describe(window: Window, request: Request, found: dict[str, Array]) -> dict[str, Any]:
    """fit.json without the candidates: what was asked, of which window, and how each tensor fits."""
    rows = request.rows(window.steps)
    steps = np.array([window.steps[row] for row in rows], dtype=np.float64)
    tensors = {}
    for name in window.names:
        sigma, modes = spectrum(found[name][np.ix_(rows, rows)])
        tensors[name] = {
            "size": float(request.size(name, found[name], window.steps)),
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
