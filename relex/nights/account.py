"""What the present hop spent and won, out of the files that its stages wrote: its line of the ledger."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from relex.core import workspace
from relex.core.atomic import read_json
from relex.core.errors import InputError
from relex.core.hop import Hop, Model
from relex.ledger.lines import HopRow, Ledger, NightRow, Right, Spent
from relex.ledger.spending import spent
from relex.registry.store import night
from relex.trajectory.reader import CACHE

_ARTIFACTS = (workspace.TRAJECTORY, workspace.CANDIDATES, workspace.BASE)  # what of a hop takes room on the disk


def hop_row(hop: Hop, ledger: Ledger, champion: Model | None, settings: str) -> HopRow:
    """The line of a hop whose stages and promotion are done. champion: who it is now. InputError where a stage's file
    is missing or is not one."""
    whole = spent(hop, ledger)
    whole = whole.model_copy(update={"disk": sum(map(_bytes, _ARTIFACTS))})
    try:
        decision, evaluation = read_json(workspace.DECISION), read_json(workspace.EVALUATION_METRICS)
        accepted = bool(decision["promote"] and champion and champion.model_sha256 == decision["winner_model_sha256"])
        serving = decision["winner"] if accepted else "champion" if "champion" in evaluation["models"] else "base"
        outcome, sentence = decision["outcome"], decision["sentence"]
        if decision["promote"] and not accepted and champion is not None and champion != hop.champion:
            outcome = f"overtaken by version {champion.version}"
            sentence += " Not promoted: another model became champion meanwhile, which it did not compete with."
        return HopRow(
            campaign=hop.campaign,
            night=hop.night,
            hop=hop.hop,
            when=_now(),
            mode=hop.mode,
            start=hop.start,
            training=hop.training.model_copy(update={"checkpoints": ()}),  # hop.json has them
            slice=hop.slice,
            spent=whole,
            total=ledger.total(hop.campaign).plus(whole),
            accepted=accepted,
            outcome=outcome,
            sentence=sentence,
            step=decision["winner_step"] if accepted else None,
            # Whose figures `right` are: who became champion meanwhile was not asked here.
            model=champion if accepted else hop.champion,
            right=_right(evaluation, serving),
            before=_right(evaluation, "base"),
            settings=settings,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError("a stage's file lacks what the ledger needs", where=workspace.METRICS, found=error) from None


def night_row(hop: Hop, ledger: Ledger, why: str, settings: str) -> NightRow:
    """The line of a night whose last hop this was."""
    hops = [row for row in ledger.hops if (row.campaign, row.night) == (hop.campaign, hop.night)]
    together = Spent.nothing()
    for row in hops:
        together = together.plus(row.spent)
    return NightRow(
        campaign=hop.campaign,
        night=hop.night,
        hops=len(hops),
        when=_now(),
        why=why,
        spent=together,
        total=ledger.total(hop.campaign),
        promoted=any(row.accepted for row in hops),
        model=hops[-1].model,
        right=hops[-1].right,
        settings=settings,
    )


def _right(evaluation: dict[str, Any], model: str) -> dict[str, Right]:
    found = {suite: night.accuracy(evaluation, model, suite) for suite in night.suites(evaluation)}
    return {
        suite: Right(value=cell.value, low=cell.low, high=cell.high)
        for suite, cell in found.items()
        if cell is not None
    }


def _bytes(folder: Path) -> int:
    """Of an artifact's own files: a trajectory's cache depends on how often its training was interrupted."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.relative_to(folder).parts[0] != CACHE)
    return sum(path.stat().st_size for path in files)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
