"""What comes after a hop, and after a night: pure, of the ledger, the present hop and the section `nights`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from relex.core.hop import Checkpoint, Hop, Mode, Model, Training
from relex.ledger.lines import HopRow, Ledger
from relex.params.nights import Nights


@dataclass(frozen=True)
class Ended:
    """Nothing more tonight, or in this campaign. why: one clause."""

    why: str


def start_of_campaign(
    hop: Hop,
    of: str,
    champion: Model | None,
    *,
    same_base: bool,
    checkpoints: Sequence[Checkpoint] = (),
    asked: int | None = None,
) -> Hop:
    """The first hop of a campaign. hop: its campaign and night. same_base: whether the champion descends from this
    campaign's base; else it starts from `base.source`, and the champion is only whom it meets. checkpoints: of another
    trainer, whose theta_0 is `base.source` in all nights. asked: the slice of problems that the champion was proven on:
    the slices begin after it."""
    start = champion if same_base and not checkpoints else None
    mode: Mode = "reground" if start else "fresh"
    training = Training(checkpoints=tuple(checkpoints))
    return Hop(
        campaign=hop.campaign,
        of=of,
        night=hop.night,
        mode=mode,
        start=start,
        training=training,
        slice=0 if asked is None else asked + 1,
        champion=champion,
    )


def new_checkpoints(known: Sequence[Checkpoint], found: Sequence[Checkpoint], run: str) -> Ended | None:
    """Why another trainer's checkpoints are no reason for a night; None where they are. known: of the hop before."""
    if len(found) < 2:
        return Ended(f"{run} holds {len(found)} complete checkpoints, and a window needs two")
    if not set(found) - set(known):
        return Ended(f"nothing new in {run} since step {known[-1].step}")
    return None


def following(
    hop: Hop,
    ledger: Ledger,
    nights: Nights,
    champion: Model | None,
    *,
    night: int,
    number: int,
    checkpoints: Sequence[Checkpoint] = (),
    asked: int | None = None,
) -> Hop:
    """The hop after a finished one, as hop `number` of `night`. champion: whose the alias is now. checkpoints: that
    another trainer has written by now: its training goes on, whatever was accepted of it. asked: the slice of problems
    that the champion was proven on, maybe by another checkout: the next one is beyond it."""
    hops = [row for row in ledger.hops if row.campaign == hop.campaign]
    mode = "continue" if checkpoints else _mode(hops[-1], nights)
    training = Training(before=sum(row.spent.steps for row in hops))
    start = champion if mode == "reground" else None
    if mode == "reground" and champion is None:
        mode = "fresh"
    if mode == "continue":
        start, before, grown = hop.start, hop.training.before, hop.training.grown + 1
        training = Training(before=before, grown=grown, checkpoints=tuple(checkpoints))
    return Hop(
        campaign=hop.campaign,
        of=hop.of,
        night=night,
        hop=number,
        mode=mode,
        start=start,
        training=training,
        slice=max(hop.slice, -1 if asked is None else asked) + 1,
        champion=champion,
    )


def _mode(last: HopRow, nights: Nights) -> Mode:
    if nights.mode != "auto":
        return nights.mode
    return "reground" if last.accepted else "continue"


def tonight(hop: Hop, ledger: Ledger, nights: Nights) -> Ended | None:
    """Why the night ends after this hop; None where it goes on. A further hop is taken to cost what tonight's did."""
    found = [row for row in ledger.hops if (row.campaign, row.night) == (hop.campaign, hop.night)]
    budget = nights.budget
    if hop.training.checkpoints:
        return Ended("the checkpoints of another trainer are one hop; tomorrow's are the next")
    if len(found) >= budget.hops:
        return Ended(f"{len(found)} of {budget.hops} hops, as nights.budget.hops allows")
    for name, limit, spent in (
        ("steps", budget.steps, [float(row.spent.steps) for row in found]),
        ("minutes", budget.minutes, [row.spent.all_seconds / 60 for row in found]),
        ("gpu_hours", budget.gpu_hours, [row.spent.gpu_hours for row in found]),
    ):
        if limit is not None and _with_one_more(spent) > limit:
            return Ended(f"one more hop would exceed nights.budget.{name} ({limit:g}): {sum(spent):.4g} are spent")
    return _campaign(hop, ledger, nights, going=found)


def further(hop: Hop, ledger: Ledger, nights: Nights, settings: str) -> Ended | None:
    """Why no further night begins after this hop's; None where one does. settings: hash of what could change that."""
    done = [row for row in ledger.nights if row.campaign == hop.campaign]
    last = done[-nights.patience :]
    # Another trainer's run goes on whatever a night finds: there is no plateau while it writes.
    tired = len(last) == nights.patience and not hop.training.checkpoints
    if tired and not any(row.promoted or row.settings != settings for row in last):
        return Ended(
            f"a plateau: {nights.patience} nights in a row promoted nothing (nights.patience); a change of "
            "params.yaml goes on, another base begins anew"
        )
    limit = nights.campaign.nights
    if limit is not None and len(done) >= limit:
        return Ended(f"the campaign's {limit} nights are spent (nights.campaign.nights)")
    return _campaign(hop, ledger, nights, going=[row for row in ledger.hops if row.campaign == hop.campaign][-1:])


def _campaign(hop: Hop, ledger: Ledger, nights: Nights, going: Sequence[HopRow]) -> Ended | None:
    limit, hops = nights.campaign.steps, [row for row in ledger.hops if row.campaign == hop.campaign]
    spent = sum(row.spent.steps for row in hops)
    expected = max((row.spent.steps for row in going), default=0)
    if limit is not None and spent + expected > limit:
        return Ended(f"the campaign's {limit} steps are spent (nights.campaign.steps): {spent}")
    return None


def _with_one_more(spent: Sequence[float]) -> float:
    return sum(spent) + sum(spent) / len(spent)
