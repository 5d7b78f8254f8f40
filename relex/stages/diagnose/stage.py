"""Stage diagnose, and `relex diagnose`: how far the forecast can be trusted.

Explained share, R^2 and drift say how straight the window is (straightness.py), and the cosines of its updates whether
it goes on so (forecast/persistence.py); the held-out-step backtest says what
the same forecast would have done inside the window, in weight space (backtest.py) and in function space
(function_space.py); the likelihood scan says where along the ray verified completions are still likely (scan.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from relex.core import atomic, workspace
from relex.core.errors import InputError
from relex.core.timing import timed
from relex.forecast.backtest import Held, fitted_counts, held_out
from relex.forecast.first_move import far_from_base, moves
from relex.forecast.persistence import persistence
from relex.forecast.subspace import Array, explained_share, spectrum
from relex.forecast.weights import Forecast, r_squared
from relex.policy.completions import read_completions
from relex.stages.diagnose.function_space import describes_model, function_backtest
from relex.stages.diagnose.params import Diagnose
from relex.stages.diagnose.rays import Scans, portfolio
from relex.stages.diagnose.rounding import above_rounding
from relex.stages.diagnose.sentence import says
from relex.stages.diagnose.straightness import RANKS, coefficient_lines, drift, random_walk, straightness
from relex.trajectory.reader import Trajectory
from relex.window.gram import grams
from relex.window.options import Options
from relex.window.request import Request
from relex.window.rows import Window

DEFAULTS = Diagnose(rank=1, backtest=(0.33, 0.5, 0.67), scan_horizons=20, scan_reach=30.0)
_NORM_CAP = 5.0  # for the variant norm-cap where the request names none
_BEYOND = (2, 4, 7, 10, 14)  # where lines are drawn to when nobody says: multiples of the window


def run(diagnose: Diagnose, extrapolate: Options, rays: Mapping[str, Mapping[str, Any]] = MappingProxyType({})) -> None:
    """Stage diagnose: metrics/diagnose.json. rays: that `extrapolate.rays: auto` chooses from, beside its own."""
    with timed("diagnose"):
        # Options alone: another choice of targets, or a soup of them, must not diagnose the same window again.
        request = Request((), extrapolate.model_copy(update={"soup": None}))
        nothing = atomic.read_json(workspace.TRAIN_METRICS).get("no_signal")
        found = diagnosis(workspace.TRAJECTORY, workspace.BASE, workspace.COMPLETIONS, diagnose, request, nothing, rays)
        atomic.write_json(workspace.DIAGNOSIS, found)
    print(f"diagnose: {found['says']}")


def diagnose_folder(trajectory: Path, base: Path, completions: Path | None, out: Path) -> None:
    """Write out/diagnose.json for any trajectory; InputError as for Window, or when `out` exists."""
    with atomic.new_folder(out) as folder:
        found = diagnosis(trajectory, base, completions, DEFAULTS, Request(targets=()))
        atomic.write_json(folder / "diagnose.json", found)
    print(f"{out / 'diagnose.json'}: {found['says']}")


def diagnosis(
    trajectory: Path,
    base: Path,
    completions: Path | None,
    section: Diagnose,
    request: Request,
    no_signal: str | None = None,
    rays: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> dict[str, Any]:
    """The whole of diagnose.json. `request`: the forecast that the scan follows, and the steps to which the fitted
    lines are drawn (none: twice the window). no_signal: what the training says of itself, where it had none. rays: that
    are scanned beside it, by name what they change of the request (rays.py)."""
    with Window(Trajectory(trajectory), base) as window:
        found = grams(window, device=request.options.device, budget=request.options.budget)
        steps = window.steps
        how = Forecast(rank=min(section.rank, len(steps)))
        counts = fitted_counts(len(steps), section.backtest)
        held = [held_out(found, steps, count, how) for count in counts]
        walk = {"walk": random_walk(steps)}
        null_held = [held_out(walk, steps, count, how) for count in counts]
        straight = straightness(found, steps)
        targets = request.targets or tuple(factor * steps[-1] for factor in _BEYOND)
        written: dict[str, Any] = {
            "trajectory": {
                "sha256": window.trajectory.sha256,
                "base_sha256": window.trajectory.base_sha256,
                "steps": list(steps),
                "rewards": list(window.trajectory.rewards),
            },
            "rank": how.rank,
            "overall": straight,
            "null": straightness(walk, steps),
            "persistence": persistence(sum(found.values(), np.zeros((len(steps), len(steps))))),
            "backtest": [_backtest(real, null) for real, null in zip(held, null_held, strict=True)],
            "coefficients": coefficient_lines(found, steps, targets),
            "tensors": {name: _tensor(name, found[name], steps, held) for name in found},
        }
        if rounding := above_rounding(window):
            written["rounding"] = rounding
        if far := _far(window, found, base):
            written["base"] = far
        if no_signal is not None:
            written["no_signal"] = no_signal
        if completions is not None and section.scan_horizons:
            written |= _with_completions(window, found, completions, section, request, counts, how, rays)
        written["says"] = says(written, held)
    return written


def _far(window: Window, found: Mapping[str, Array], base: Path) -> str | None:
    """Whether another trainer's checkpoints lie too far from the base that was named for them."""
    if window.trajectory.manifest.kind != "reference":
        return None
    whole = sum(found.values(), np.zeros((len(window.steps), len(window.steps))))
    return far_from_base(*moves(whole), window.steps, base)


def _with_completions(
    window: Window,
    found: Mapping[str, Array],
    completions: Path,
    section: Diagnose,
    request: Request,
    counts: Sequence[int],
    how: Forecast,
    rays: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """The parts that need verified completions: the likelihood scan and the backtest in function space."""
    if not describes_model(window.base.folder):
        raise InputError(
            "completions can only be scanned with a whole model",
            where=window.base.folder,
            todo="diagnose an adapter without --completions",
        )
    table, temperature = read_completions(completions)
    scans = Scans(window, found, table, temperature, section)
    own = scans.along(request, "scan")
    variants = {name: scans.along(one, f"scan, {name}") for name, one in _variants(request, section).items()}
    backtest = function_backtest(
        window,
        found,
        counts,
        how,
        table,
        temperature=temperature,
        device=request.options.device,
        budget=request.options.budget,
    )
    return {
        "scan": own,
        "scan_variants": variants,
        "function_backtest": backtest,
        **({"rays": portfolio(scans, request, own, rays)} if rays else {}),
    }


def _variants(request: Request, section: Diagnose) -> dict[str, Request]:
    """The per-tensor choices to be judged beside the request."""
    choices: dict[str, dict[str, Any]] = {
        "backtested": {"backtested": True},
        "norm-cap": {"norm_cap": request.options.norm_cap or _NORM_CAP},
    }
    return {name: request.vary(**choices[name]) for name in section.variants}


def _backtest(real: Held, null: Held) -> dict[str, Any]:
    return {
        "fitted_steps": real.fitted,
        "forecast_steps": list(real.steps),
        "skill": real.skill().tolist(),
        "null_skill": null.skill().tolist(),
    }


def _tensor(name: str, gram: Array, steps: Sequence[int], held: Sequence[Held]) -> dict[str, Any]:
    time = np.asarray(steps, dtype=np.float64)
    sigma, modes = spectrum(gram)
    return {
        "norm": float(np.sqrt(max(gram[-1, -1], 0.0))),
        "explained_share": explained_share(sigma)[:RANKS].tolist(),
        "sigma": sigma[:RANKS].tolist(),
        "r_squared": r_squared(time, modes[:, 0]),
        "drift": drift(gram, time),
        "backtest_skill": [float(part.tensor_skill()[part.names.index(name), -1]) for part in held],
    }
