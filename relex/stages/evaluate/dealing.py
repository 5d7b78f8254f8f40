"""Which engine generates what. Pure: it decides what a fill costs, never what a row is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from relex.stages.evaluate.contestants import Contestant
from relex.stages.evaluate.row_store import Asked
from relex.stages.evaluate.suites.suite import Suite


@dataclass(frozen=True)
class Share:
    """Rows of one model under one protocol, for one engine. suite: any with that protocol, to be asked by it."""

    contestant: Contestant
    suite: Suite
    asked: tuple[Asked, ...]

    @property
    def model(self) -> str:
        """The model's hash."""
        return self.contestant.model_sha256


def deal(whole: Sequence[Share], slots: int, *, exchangeable: bool) -> list[Share]:
    """Shares for `slots` engines: whole models, as far as every engine gets as many of them.

    The rows of the last ones, fewer than engines, are dealt out, so that no engine stands idle. exchangeable: whether
    an engine can go from model to model; where it cannot, only fewer models than engines are dealt out, for another
    start would cost more than it gains.
    """
    models = list(dict.fromkeys(share.model for share in whole))
    rest = len(models) % slots if exchangeable or len(models) < slots else 0
    dealt = set(models[len(models) - rest :])
    shares: list[Share] = []
    for share in whole:
        parts = -(-slots // rest) if share.model in dealt else 1
        shares.extend(
            Share(share.contestant, share.suite, share.asked[part::parts])
            for part in range(parts)
            if share.asked[part::parts]
        )
    return shares


def choose(shares: Sequence[Share], mine: str | None, others: Collection[str], *, exchangeable: bool) -> Share | None:
    """What an engine should generate next; None when what is left is better left to the engines that hold its models.

    mine: the model that it holds, None before it was started. others: those that the other engines hold or are about
    to. exchangeable: whether it can take up another model without a start.
    """
    wishes = [
        lambda share: share.model == mine and not (exchangeable and mine in others),
        lambda share: share.model not in others,
        lambda share: share.model == mine or mine is None or exchangeable,
    ]
    return next((share for wish in wishes for share in shares if wish(share)), None)
