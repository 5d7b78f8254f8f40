"""What the model that a campaign's night ended with answered on test: its rows make room for the next night's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from flows.study.rows import load_shares
from relex.core.atomic import read_json, write_json
from relex.core.workspace import DECISION, EVALUATION

_AFTER = ("champion", "base")  # where nothing was promoted: the champion, where there is one


def answers_file(campaign: Path, night: int) -> Path:
    """Where they lie for a campaign's folder."""
    return campaign.with_name(f"{campaign.name}-answers") / f"night-{night}.json"


def keep_answers(campaign: Path, night: int) -> None:
    """Keep the share of right samples by problem of the night that has just ended, once; nothing before the first."""
    path = answers_file(campaign, night)
    if not night or path.is_file() or not (campaign / DECISION).is_file():
        return
    shares, decision = load_shares(campaign / EVALUATION / "rows", "test"), read_json(campaign / DECISION)
    names = (decision["winner"],) if decision["promote"] else _AFTER
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, next(shares[name] for name in names if name in shares))


def answers(campaign: Path, night: int) -> Mapping[str, float]:
    """By problem the share of right samples, as `keep_answers` has kept it."""
    found: dict[str, float] = read_json(answers_file(campaign, night))
    return found
