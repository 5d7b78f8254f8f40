"""Evidence on nights that add up: campaigns beside true RLVR from the same base (`python -m flows.study --campaign`).

Every campaign is a clone of this checkout's commit in study/, in which `python -m flows.nightly` runs night after
night: what it took is what its own ledger says. True RLVR trains on from the same base on the same problems, and is
evaluated every so many steps on the same test problems; its curve is kept in inputs/true-rlvr.json, from where the
pages of nights have it. What was begun is gone on with.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger

from flows.stages import run_action
from flows.study.answers import keep_answers
from flows.study.campaign_tables import Campaign, page, picture, right_of
from flows.study.night import evaluated, night, put_back, reported_whole, seeded, write_params
from flows.study.sides import lines, sides
from relex.core.atomic import new_file, read_json, write_text
from relex.core.errors import InputError
from relex.core.workspace import (
    CANDIDATES,
    EVALUATION_METRICS,
    LEDGER,
    PARAMS,
    TRAIN_SECONDS,
    TRUE_RLVR,
)
from relex.ledger import true_rlvr
from relex.ledger.task import task_of
from relex.ledger.true_rlvr import Curve, Point
from relex.params.load import load
from relex.registry.store.night import accuracy
from relex.retention.folders import STUDY

PAGE, PICTURE = Path("docs/campaign.md"), Path("docs/campaign.svg")


@flow(name="campaign", log_prints=True)
def campaigns(options: Mapping[str, Any], command: str) -> None:
    """Run the campaigns and true RLVR; docs/campaign.md where there is a true curve to hold them against.

    options: seeds, nights, true_steps (0 for none), every, mode and window (None for those of params.yaml), sides
    (whether the first seed's first night runs in other ways too).
    """
    if 0 < options["true_steps"] < options["every"]:
        raise InputError(
            "true RLVR ends before its first checkpoint that is evaluated",
            where="--true-steps",
            expected=f"at least --every ({options['every']})",
            found=options["true_steps"],
        )
    found = [campaign(seed, options, command) for seed in options["seeds"]]
    beside: list[str] = []
    if options["sides"]:
        beside = lines(sides(found[0], options, lambda seed, other: campaign(seed, other, command)))
    if options["true_steps"]:
        write_text(PAGE, page(found, command, beside))
        with new_file(PICTURE) as temporary:
            picture(found, temporary)
        print(f"campaign: {PAGE}")
    else:
        print(page(found, command, beside))


def folder_of(seed: int, options: Mapping[str, Any]) -> Path:
    """Where the campaign of a seed and such options is."""
    label = "".join(f"-{options[name]}" for name in ("mode", "window", "case") if options.get(name))
    return STUDY / f"campaign-{seed}{label}"


def campaign(seed: int, options: Mapping[str, Any], command: str) -> Campaign:
    """One campaign, run as far as `options` say and not yet run. options: as of `campaigns`; case: a name for
    `changes`, of params.yaml, None for none."""
    folder, changes = folder_of(seed, options), _changes(seed, options)
    name = folder.name
    if not (folder / PARAMS).is_file():
        folder.parent.mkdir(exist_ok=True)
        subprocess.run(["git", "clone", "--quiet", ".", str(folder)], check=True)
    if not _ledger(folder):  # a kill after the clone must not leave the committed seed in force
        write_params(folder / PARAMS, changes)
    log = get_run_logger()
    here = ["env", f"PYTHONPATH={folder.absolute()}", sys.executable, "-m", "flows.nightly"]
    while True:
        done = sum(row["kind"] == "night" for row in _ledger(folder))
        keep_answers(folder, done)
        if done >= options["nights"]:
            break
        log.info("%s: night %d", name, done + 1)
        run_action(f"{name}: night {done + 1}", here, folder)
        if sum(row["kind"] == "night" for row in _ledger(folder)) == done:
            break  # a plateau
    curve: tuple[Point, ...] = ()
    if options["true_steps"]:
        true = f"campaign-{seed}-true"
        if not (STUDY / true / EVALUATION_METRICS).is_file():
            _true(true, changes, options["true_steps"], options["every"])
        curve = _curve(STUDY / true)
        _keep(STUDY / true, seed, curve, command)
    return Campaign(seed, _ledger(folder), curve, curve[-1].step if curve else 0)


def _changes(seed: int, options: Mapping[str, Any]) -> dict[str, Any]:
    changes: dict[str, Any] = {**seeded(seed), **options.get("changes", {})}
    if options["mode"]:
        changes["nights.mode"] = options["mode"]
    if options["window"]:
        changes |= {"train.budget.steps": options["window"], "train.window.last": options["window"]}
    return changes


def _true(name: str, changes: Mapping[str, Any], steps: int, every: int) -> None:
    """RLVR from the campaign's base to `steps`, its checkpoint after every `every` steps evaluated."""
    shown = range(every, steps + 1, every)
    night(name, _longer(changes, shown), ("problems", "base", "train"))
    for step in shown:
        put_back(name, step, CANDIDATES / f"step_{step:06d}")
    evaluated(name, shown[-1])


def _longer(changes: Mapping[str, Any], shown: range) -> dict[str, Any]:
    """Changes under which training goes on to the last of the steps `shown`, and all of them are evaluated: the
    campaign's own task all the same (relex/ledger/task.py)."""
    return {
        **changes,
        **reported_whole(list(shown)),
        "train.budget.steps": shown[-1],
        "train.window": {"first": shown[0], "last": shown[-1], "every": shown.step},
        "extrapolate.targets": [2 * shown[-1]],  # nothing is extrapolated, and named ones may lie inside this window
        "extrapolate.variants": [],
    }


def _curve(folder: Path) -> tuple[Point, ...]:
    """True RLVR's accuracy and seconds of training by step, the base first."""
    evaluation = read_json(folder / EVALUATION_METRICS)
    with open(folder / TRAIN_SECONDS, encoding="utf-8", newline="") as handle:
        seconds = [float(row["seconds"]) for row in csv.DictReader(handle)]
    points = []
    for name, facts in evaluation["models"].items():
        if facts["kind"] == "observed":  # the last step is there twice
            continue
        test, ood = (right_of(accuracy(evaluation, name, suite)) for suite in ("test", "ood"))
        if test is None or ood is None:
            raise InputError("the true run was not asked every suite", where=folder / EVALUATION_METRICS, found=name)
        until = round(sum(seconds[: facts["step"]]), 3)
        points.append(Point(step=facts["step"], seconds=until, test=test, ood=ood))
    return tuple(sorted(points, key=lambda point: point.step))


def _keep(folder: Path, seed: int, points: tuple[Point, ...], command: str) -> None:
    """Put the curve among those under version control, by the task of the parameters that it was trained with."""
    params = load(folder / PARAMS)
    task = task_of(params.problems, params.base, params.train, params.evaluate)
    if task is not None:
        true_rlvr.add(Curve(task=task, seed=seed, command=command, points=points))
        print(f"campaign: {TRUE_RLVR}")


def _ledger(folder: Path) -> list[dict[str, Any]]:
    path = folder / LEDGER
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
