"""Evidence on where a forecast holds: first hops of unlike trainings, with every ray and every control at horizons on
both sides of the scan's (`python -m flows.study --regimes`).

All of them are asked every reported problem, which a night cannot afford. What has been evaluated is not run again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger

from flows.study.cases import Changes, regimes
from flows.study.night import night, reported_whole, seeded
from flows.study.regimes_tables import CONTROLS, OWN, Regime, page
from flows.study.rows import load_shares
from flows.study.withheld import KEPT, withheld
from relex.core.atomic import read_json, write_text
from relex.core.errors import InputError
from relex.core.workspace import DIAGNOSIS, EVALUATION, EVALUATION_METRICS, PARAMS
from relex.ledger import true_rlvr
from relex.ledger.task import task_of
from relex.params.load import load
from relex.retention.folders import STUDY

PAGE = Path("docs/regimes.md")
# Beside what params.yaml names, where it leaves the choice among rays to the scan.
_DAMPED = {"name": "damped", "damped": True}
_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)  # of the horizon that the scan suggests


@flow(name="regimes", log_prints=True)
def first_hops(seed: int, command: str, only: Sequence[str] = ()) -> None:
    """Run them, or `only` those of these names, and write docs/regimes.md."""
    known = regimes()
    if unknown := [name for name in only if name not in known]:
        raise InputError(
            "there is no such regime",
            where="--only",
            expected=f"some of {', '.join(known)}",
            found=", ".join(unknown),
        )
    log = get_run_logger()
    found = []
    for name in only or known:
        changes = known[name]
        log.info("first hop: %s", name)
        found.append(_first_hop(name, seed, {**seeded(seed), **changes}))
    write_text(PAGE, page(found, command))
    print(f"regimes: {PAGE}")


def label_of(name: str, seed: int) -> str:
    """The name of a regime's folder in study/."""
    return f"regime-{seed}-{name.replace(' ', '-')}"


def _first_hop(name: str, seed: int, changes: Changes) -> Regime:
    label = label_of(name, seed)
    folder = STUDY / label
    if not (folder / EVALUATION_METRICS).is_file():
        (folder / KEPT).unlink(missing_ok=True)  # of answers that are asked again
        changes = {**changes, **more_rays()}
        night(label, changes, ("problems", "base", "train", "diagnose"))
        targets = list(horizons(read_json(folder / DIAGNOSIS)))
        shown = {"extrapolate.targets": targets, "extrapolate.controls": list(CONTROLS)}
        night(label, {**changes, **shown, **reported_whole(targets, CONTROLS)}, ("extrapolate", "evaluate"))
    params = load(folder / PARAMS)
    task = task_of(params.problems, params.base, params.train, params.evaluate)
    curve = true_rlvr.of(task) if task else None
    found = Regime(
        name=name,
        diagnosis=read_json(folder / DIAGNOSIS),
        evaluation=read_json(folder / EVALUATION_METRICS),
        shares=load_shares(folder / EVALUATION / "rows", "test"),
        curve=curve.points if curve else (),
    )
    last = found.diagnosis["trajectory"]["steps"][-1]
    return replace(found, withheld=withheld(folder, {last: "observed", **found.rays[OWN]}))


def more_rays() -> Changes:
    """Changes that add a ray to those that the scan chooses among; none where they are all named."""
    found = load(PARAMS).extrapolate
    if found.rays == "named":
        return {}
    named = [variant.model_dump(exclude_none=True) for variant in found.variants]
    return {"extrapolate.variants": [*named, _DAMPED]}


def horizons(diagnosis: dict[str, Any]) -> Sequence[int]:
    """Around the one that the scan suggests, beyond the window; where there was no scan, the named ones."""
    suggested, last = diagnosis.get("scan", {}).get("suggested"), diagnosis["trajectory"]["steps"][-1]
    if suggested is None:
        named = load(PARAMS).extrapolate.targets
        return named if named != "auto" else [2 * last, 4 * last, 8 * last]
    return sorted({max(round(factor * suggested), last + 1) for factor in _FACTORS})
