"""What the present hop spent and won, out of the files that its stages wrote: its line of the ledger."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from relex.core import workspace
from relex.core.atomic import read_json
from relex.core.errors import InputError
from relex.core.hop import Hop, Model
from relex.nights.ledger import HopRow, Ledger, NightRow, Right, Spent
from relex.registry.store import night

_NOTHING = Spent(steps=0, rollouts=0, tokens=0, seconds={}, rows={})


def hop_row(hop: Hop, ledger: Ledger, champion: Model | None, settings: str) -> HopRow:
    """The line of a hop whose stages and promotion are done. champion: who it is now. InputError where a stage's file
    is missing or is not one."""
    try:
        decision, evaluation = read_json(workspace.DECISION), read_json(workspace.EVALUATION_METRICS)
        accepted = bool(decision["promote"] and champion and champion.model_sha256 == decision["winner_model_sha256"])
        serving = decision["winner"] if accepted else "champion" if "champion" in evaluation["models"] else "base"
        spent = _spent(hop, ledger, evaluation)
        return HopRow(
            campaign=hop.campaign,
            night=hop.night,
            hop=hop.hop,
            when=_now(),
            mode=hop.mode,
            start=hop.start,
            training=hop.training.model_copy(update={"checkpoints": ()}),  # hop.json has them
            slice=hop.slice,
            spent=spent,
            total=_total(ledger, hop.campaign).plus(spent),
            accepted=accepted,
            outcome=decision["outcome"],
            sentence=decision["sentence"],
            step=decision["winner_step"] if accepted else None,
            model=champion,
            right=_right(evaluation, serving),
            before=_right(evaluation, "base"),
            settings=settings,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError("a stage's file lacks what the ledger needs", where=workspace.METRICS, found=error) from None


def night_row(hop: Hop, ledger: Ledger, why: str, settings: str) -> NightRow:
    """The line of a night whose last hop this was."""
    hops = [row for row in ledger.hops if (row.campaign, row.night) == (hop.campaign, hop.night)]
    spent = _NOTHING
    for row in hops:
        spent = spent.plus(row.spent)
    return NightRow(
        campaign=hop.campaign,
        night=hop.night,
        hops=len(hops),
        when=_now(),
        why=why,
        spent=spent,
        total=_total(ledger, hop.campaign),
        promoted=any(row.accepted for row in hops),
        model=hops[-1].model,
        right=hops[-1].right,
        settings=settings,
    )


def _total(ledger: Ledger, campaign: int) -> Spent:
    total = _NOTHING
    for row in ledger.hops:
        if row.campaign == campaign:
            total = total.plus(row.spent)
    return total


def _spent(hop: Hop, ledger: Ledger, evaluation: Mapping[str, Any]) -> Spent:
    train, timings = read_json(workspace.TRAIN_METRICS), _timings(ledger)
    seconds = {name: round(facts["seconds"], 3) for name, facts in timings.items()}
    gpu_hours = timings.get("train", {}).get("gpu_hours", 0.0)
    whole = Spent(
        steps=train["steps"],
        rollouts=train["completions"],
        tokens=train["tokens"],
        seconds=seconds,
        rows={part: spent["rows"] for part, spent in evaluation["proof"]["spent"].items()},
        gpu_hours=gpu_hours,
        disk=sum(_bytes(path) for path in (workspace.TRAJECTORY, workspace.CANDIDATES, workspace.BASE)),
    )
    earlier = _of_this_training(hop, ledger)
    if hop.training.checkpoints:  # steps that another trainer took: all that counts from their run's beginning
        return whole.model_copy(update={"steps": max(0, whole.steps - earlier.steps)})
    return _less(whole, earlier)


def _of_this_training(hop: Hop, ledger: Ledger) -> Spent:
    """What earlier hops spent on the same training: its files count from its own beginning."""
    spent = _NOTHING
    for row in ledger.hops:
        same = (row.campaign, row.training.before, row.start) == (hop.campaign, hop.training.before, hop.start)
        if same and row.training.grown < hop.training.grown:
            spent = spent.plus(row.spent)
    return spent


def _less(whole: Spent, earlier: Spent) -> Spent:
    """Only what training counts goes on from hop to hop; every other stage begins again."""
    trained = max(0.0, round(whole.seconds.get("train", 0.0) - earlier.seconds.get("train", 0.0), 3))
    return whole.model_copy(
        update={
            "steps": max(0, whole.steps - earlier.steps),
            "rollouts": max(0, whole.rollouts - earlier.rollouts),
            "tokens": max(0, whole.tokens - earlier.tokens),
            "seconds": {**whole.seconds, "train": trained},
            "gpu_hours": max(0.0, round(whole.gpu_hours - earlier.gpu_hours, 5)),
        }
    )


def _timings(ledger: Ledger) -> dict[str, Any]:
    """By stage; without those that were up to date, whose seconds an earlier hop has spent."""
    since = max((row.when for row in ledger.hops), default="")
    found = {path.stem: read_json(path) for path in sorted(workspace.TIMINGS.glob("*.json"))}
    return {stage: facts for stage, facts in found.items() if facts.get("ended", since) >= since}


def _right(evaluation: dict[str, Any], model: str) -> dict[str, Right]:
    found = {suite: night.accuracy(evaluation, model, suite) for suite in night.suites(evaluation)}
    return {
        suite: Right(value=cell.value, low=cell.low, high=cell.high)
        for suite, cell in found.items()
        if cell is not None
    }


def _bytes(folder: Any) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
