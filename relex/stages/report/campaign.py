"""The campaign so far: its finished hops as the ledger has them, and the present one out of its own metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from relex.core import hop as hops
from relex.core import workspace
from relex.core.errors import InputError
from relex.core.hop import Hop, Mode, Model
from relex.ledger import lines
from relex.ledger.lines import HopRow, Ledger, Right, Spent
from relex.ledger.spending import spent
from relex.stages.report.data import Evaluation, Night


@dataclass(frozen=True)
class Line:
    """One hop. spent: by it alone; total: by the campaign up to it. proven: whether its decision was to promote;
    accepted: whether that became champion, None for the present hop, which the registry has not seen yet. became: what
    became of a decision to promote that was not carried out. step: of the model that was promoted. version: of the
    champion after it. right: by suite, of the model in force after it."""

    night: int
    hop: int
    mode: Mode
    start: str | None
    spent: Spent
    total: Spent
    proven: bool
    accepted: bool | None
    became: str | None
    step: int | None
    version: str | None
    right: Mapping[str, Right]

    @property
    def refused(self) -> bool:
        """Whether the champion stayed who it was."""
        return not self.proven or self.accepted is False


@dataclass(frozen=True)
class Campaign:
    """hop: the present one. lines: the oldest first, the present one last. before: by suite, share of right samples of
    what the first of them started from. trained_before: steps of the present training that earlier hops took, and
    that its own files count too."""

    hop: Hop
    lines: tuple[Line, ...]
    before: Mapping[str, Right]
    trained_before: int

    @property
    def place(self) -> str:
        """Where the present hop stands, in words."""
        return f"Campaign {self.hop.campaign}, night {self.hop.night}, hop {self.hop.hop}"


def read_campaign(night: Night) -> Campaign:
    """Of hop.json and ledger.jsonl; lines of later hops are left out, so that the page can be made again. Of the
    present hop's own line, which is written after its page, it takes that nothing was promoted after all.

    InputError where hop.json is of another hop than the metrics.
    """
    hop = hops.read()
    _check(hop, night.evaluation)
    known = lines.read()
    ledger = Ledger(row for row in known.hops if row.place < hop.place)
    earlier = [row for row in ledger.hops if row.campaign == hop.campaign]
    present = spent(hop, ledger)
    promoted = night.decision.winner if night.decision.promote else None
    own = known.hop(hop)
    became = _became(own) if own and promoted else None
    this = Line(
        night=hop.night,
        hop=hop.hop,
        mode=hop.mode,
        start=_version(hop.start),
        spent=present,
        total=ledger.total(hop.campaign).plus(present),
        proven=night.decision.promote,
        accepted=False if became else None,
        became=became,
        step=night.evaluation.models[promoted].step if promoted else None,
        version=None if promoted and not became else _version(hop.champion),
        right=_right(night.evaluation, _serving(night, became)),
    )
    before = earlier[0].before if earlier else _right(night.evaluation, "base")
    return Campaign(hop, (*map(_line, earlier), this), before, night.train.steps - present.steps)


def _line(row: HopRow) -> Line:
    return Line(
        night=row.night,
        hop=row.hop,
        mode=row.mode,
        start=_version(row.start),
        spent=row.spent,
        total=row.total,
        proven=row.outcome != "keep-champion",
        accepted=row.accepted,
        became=_became(row),
        step=row.step,
        version=_version(row.model),
        right=row.right,
    )


def _became(row: HopRow) -> str | None:
    """What became of a decision to promote that was not carried out, None for every other."""
    if row.accepted or row.outcome == "keep-champion":
        return None
    return row.outcome if row.outcome.startswith("overtaken") else "another model is champion"


def _serving(night: Night, became: str | None) -> str:
    """The model that stays or comes: where nothing was promoted after all, the one that the hop met."""
    if became is None:
        return night.decision.winner or "base"
    return next(iter(night.evaluation.of_kind("champion")), "base")


def _right(evaluation: Evaluation, model: str) -> dict[str, Right]:
    found = {suite: evaluation.accuracy(model, suite) for suite in evaluation.protocol.suites}
    return {suite: Right(value=one.value, low=one.low, high=one.high) for suite, one in found.items() if one}


def _version(model: Model | None) -> str | None:
    return None if model is None else model.version


def _check(hop: Hop, evaluation: Evaluation) -> None:
    met = [evaluation.models[name].model_sha256 for name in evaluation.of_kind("champion")]
    named = [hop.champion.model_sha256] if hop.champion else []
    if met != named:
        raise InputError(
            "the metrics are not of the hop that it names: another champion was met",
            where=workspace.HOP,
            expected=named or "no champion",
            found=met or "no champion",
            todo="dvc repro",
        )
