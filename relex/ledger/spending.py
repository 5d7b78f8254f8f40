"""What the present hop spent, out of the files that its stages wrote."""

from __future__ import annotations

from typing import Any

from relex.core import workspace
from relex.core.atomic import read_json
from relex.core.errors import InputError
from relex.core.hop import Hop
from relex.ledger.lines import Ledger, Spent


def spent(hop: Hop, ledger: Ledger) -> Spent:
    """By this hop alone, also where its training went on from an earlier one's. disk is left at 0.

    ledger: the hops before it, of every campaign. InputError where a stage's file is missing or lacks a figure.
    """
    train, evaluation = read_json(workspace.TRAIN_METRICS), read_json(workspace.EVALUATION_METRICS)
    try:
        timings = _timings(ledger)
        whole = Spent(
            steps=train["steps"],
            rollouts=train["completions"],
            tokens=train["tokens"],
            seconds={name: round(facts["seconds"], 3) for name, facts in timings.items()},
            rows={part: spent["rows"] for part, spent in evaluation["proof"]["spent"].items()},
            gpu_hours=timings.get("train", {}).get("gpu_hours", 0.0),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError("a stage's file lacks what the ledger needs", where=workspace.METRICS, found=error) from None
    earlier = _of_this_training(hop, ledger)
    if hop.training.checkpoints:  # steps that another trainer took: all that counts from their run's beginning
        return whole.model_copy(update={"steps": max(0, whole.steps - earlier.steps)})
    return _less(whole, earlier)


def _of_this_training(hop: Hop, ledger: Ledger) -> Spent:
    """What earlier hops spent on the same training: its files count from its own beginning."""
    spent = Spent.nothing()
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
