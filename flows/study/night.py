"""One night of the study: the stage commands in a folder of study/, from the committed parameters with changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from flows.stages import run_action
from relex.core import hop
from relex.core.atomic import read_json, write_json
from relex.core.errors import InputError
from relex.core.workspace import BASE, EVALUATION_METRICS, EXTRAPOLATION_METRICS, HOP, OBSERVED, PARAMS, TRAJECTORY
from relex.params.load import load
from relex.params.proof_ahead import racers_of
from relex.retention.folders import STUDY
from relex.stages.evaluate.planned import expected_rooms, unlimited


def night(name: str, changes: Mapping[str, Any], stages: Sequence[str]) -> Path:
    """Run the stages in study/<name>, from the committed parameters with `changes`; the folder."""
    folder = STUDY / name
    folder.mkdir(parents=True, exist_ok=True)
    hop.write(hop.Hop(), folder / HOP)  # one from the base, whatever the project's nights came to
    write_params(folder / PARAMS, changes)
    for stage in stages:
        run_action(f"{name}: {stage}", ["relex", stage], folder)
    return folder


def put_back(name: str, step: int, out: Path) -> None:
    """Write an observed step of study/<name> as the checkpoint folder `out` in it, once."""
    folder = STUDY / name
    if not (folder / out).is_dir():
        where = ["--trajectory", str(TRAJECTORY), "--base", str(BASE), "--step", str(step), "--out", str(out)]
        run_action(f"{name}: step {step}", ["relex", "materialize", *where], folder)


def evaluated(name: str, last: int) -> dict[str, Any]:
    """Evaluate the candidates that lie in study/<name> beside its last observed step; metrics/evaluate.json."""
    folder = STUDY / name
    put_back(name, last, OBSERVED)
    write_json(folder / EXTRAPOLATION_METRICS, {"observed_step": last})
    run_action(f"{name}: evaluate", ["relex", "evaluate"], folder)
    return read_json(folder / EVALUATION_METRICS)


def write_params(path: Path, changes: Mapping[str, Any]) -> None:
    """The committed params.yaml with changes (dotted key -> value), checked."""
    yaml = YAML()
    document = yaml.load(PARAMS.read_text(encoding="utf-8"))
    for key, value in changes.items():
        *parents, last = key.split(".")
        section = document
        for parent in parents:
            section = section[parent]
        section[last] = value
    with open(path, "w", encoding="utf-8") as handle:
        yaml.dump(document, handle)
    load(path)


def reported_whole(targets: Sequence[int], controls: Sequence[str] = ()) -> dict[str, Any]:
    """Changes under which every model is asked every reported problem; the budget is what that takes, and so limits
    nothing. targets: steps of the candidates. controls: kinds of those that race beside them."""
    params = load(PARAMS)
    settings = params.evaluate.model_copy(update={"report": "all"})
    rooms = expected_rooms(settings, params.problems.sizes.model_dump())
    if rooms is None:
        raise InputError(
            "a study needs to know how many problems there are",
            where=f"{PARAMS}: evaluate.suites",
            expected="suites that are splits of the problems",
            todo="leave out the others",
        )
    racers = racers_of(params.extrapolate.model_copy(update={"targets": tuple(targets), "controls": tuple(controls)}))
    return {"evaluate.report": "all", "evaluate.budget.rows": unlimited(settings, rooms, racers, champion=True)}


def seeded(seed: int) -> dict[str, int]:
    """Changes that draw problems, base (where it is made here), training and samples anew."""
    keys = ["problems.seed", "train.seed", "evaluate.seed"]
    if "seed" in type(load(PARAMS).base.source).model_fields:
        keys.append("base.source.seed")
    return dict.fromkeys(keys, seed)
