"""A campaign's first night in other ways, side by side on one seed: other modes, long windows, and a control."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.stages import run_action
from flows.study.campaign_tables import Campaign, interval, right_of, seconds_of
from flows.study.night import evaluated, night, reported_whole, seeded
from relex.core.atomic import read_json
from relex.core.errors import InputError
from relex.core.workspace import CANDIDATES, EVALUATION_METRICS, TRAIN_METRICS
from relex.ledger.lines import Right
from relex.registry.store.night import accuracy

LONG = 45  # steps of a long window
_WAYS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("mode: reground", {"mode": "reground"}),
    ("mode: continue", {"mode": "continue"}),
    (f"windows of {LONG} steps", {"window": LONG}),
)


@dataclass(frozen=True)
class Side:
    """One way. hops: how many it took; None for no hop. steps: trained. seconds: of all stages but the base, None
    where they are not comparable."""

    way: str
    hops: int | None
    steps: int
    test: Right
    ood: Right
    seconds: float | None


def sides(
    campaign: Campaign, options: Mapping[str, Any], run: Callable[[int, Mapping[str, Any]], Campaign]
) -> list[Side]:
    """The first night of `campaign`, and of every other way on its seed. run: a campaign by seed and options."""
    found = [_first_night("as params.yaml has it", campaign)]
    for way, changes in _WAYS:
        one = {**options, "mode": None, "window": None, **changes, "nights": 1, "true_steps": 0}
        found.append(_first_night(way, run(campaign.seed, one)))
    return [*found, _fine_tuned(campaign.seed)]


def _first_night(way: str, campaign: Campaign) -> Side:
    row = campaign.nights[0]
    right = {suite: Right.model_validate(row["right"][suite]) for suite in ("test", "ood")}
    return Side(way, row["hops"], row["total"]["steps"], right["test"], right["ood"], seconds_of(row)[1])


def _fine_tuned(seed: int) -> Side:
    """The first hop's training and completions again, and its base fine-tuned on them, evaluated as the study's true
    RLVR is."""
    name = f"campaign-{seed}-fine-tuned"
    changes = {**seeded(seed), "extrapolate.variants": [], "extrapolate.rays": "named"}
    folder = night(name, changes, ("problems", "base", "train"))
    last = read_json(folder / TRAIN_METRICS)["steps"]
    step = last + 1  # where a candidate has to lie: beyond the window
    night(name, {**changes, **reported_whole([step]), "extrapolate.targets": [step]}, ())
    tuned, here = CANDIDATES / f"step_{step:06d}", Path.cwd()
    command = ["env", f"PYTHONPATH={here}", sys.executable, "-m", "flows.study.fine_tuned", str(tuned)]
    run_action(f"{name}: fine-tune", command, folder)
    evaluation = evaluated(name, last)
    test, ood = (right_of(accuracy(evaluation, tuned.name, suite)) for suite in ("test", "ood"))
    if test is None or ood is None:
        raise InputError("the fine-tuned model was not asked every suite", where=folder / EVALUATION_METRICS)
    return Side("no forecast: all weights fine-tuned on the first hop's right completions", None, last, test, ood, None)


def lines(found: list[Side]) -> list[str]:
    """A section of docs/campaign.md."""
    rows = [
        "One night of one seed in other ways, each a campaign of its own. The last line is a control, which forecasts",
        "nothing.",
        "",
        "| way | hops | trained steps | test | ood | seconds, all |",
        "|---|---|---|---|---|---|",
    ]
    for side in found:
        cells = [side.way, "-" if side.hops is None else str(side.hops), str(side.steps)]
        cells += [interval(each) for each in (side.test, side.ood)]
        rows.append(f"| {' | '.join([*cells, '-' if side.seconds is None else f'{side.seconds:.0f}'])} |")
    return rows
