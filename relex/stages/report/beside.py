"""What the page shows beside metrics and timings: what the hop was about, its campaign, champions so far, answers to
compare."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, Field, ValidationError

from relex.core import workspace
from relex.core.errors import CorruptArtifact
from relex.ledger.true_rlvr import Curve
from relex.stages.report.campaign import Campaign, read_campaign
from relex.stages.report.data import Night
from relex.stages.report.facts import Facts, Number
from relex.stages.report.samples import Samples, read_samples

_NAMES = ("task", "name", "repo", "path", "paths")  # what tells one source of problems from another of its kind


class Champion(Facts):
    """A move of `champion`, a line of history.jsonl. right: share of right samples by suite, of the version that came,
    as the night that made it reported it; empty where that is not known."""

    when: AwareDatetime
    what: str
    model: str
    to: str | None
    forced: bool = False
    right: dict[str, Number] = Field(default_factory=dict)


@dataclass(frozen=True)
class Beside:
    """task: what the problems are. model: the registered model's name, None without a registry. champions: the moves
    before this hop ended, the oldest first. campaign: None for a proof that is no hop; true_rlvr: what long training
    reaches on its task, None where the study has not measured it. folders: of a proof's models, by name, what tells
    each from the others. Nothing of the registry's address, which may hold a password: DVC would write it into
    dvc.lock."""

    task: str
    model: str | None
    champions: list[Champion]
    samples: Samples
    campaign: Campaign | None = None
    true_rlvr: Curve | None = None
    folders: Mapping[str, str] = field(default_factory=dict)


def read_beside(night: Night, source: Mapping[str, Any], model: str, true_rlvr: Curve | None = None) -> Beside:
    """source: the section problems.source of params.yaml; CorruptArtifact names a line of the history that is none."""
    moves = [move for move in _champions(workspace.HISTORY) if move.model == model]
    end = night.date or datetime.min.replace(tzinfo=UTC)
    return Beside(
        task=_task(source),
        model=model,
        champions=[move for move in moves if move.when <= end],
        samples=read_samples(night, workspace.EVALUATION / "rows"),
        campaign=read_campaign(night),
        true_rlvr=true_rlvr,
    )


def _task(source: Mapping[str, Any]) -> str:
    kind = str(source["kind"])
    named = next((source[name] for name in _NAMES if source.get(name)), None)
    if isinstance(named, Mapping):
        named = ", ".join(map(str, dict.fromkeys(named.values())))
    return f"{named} ({kind})" if named else kind


def _champions(path: Path) -> list[Champion]:
    if not path.is_file():
        return []
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            found.append(Champion.model_validate(json.loads(line)))
        except (ValueError, ValidationError):
            raise CorruptArtifact("not a line of the history", where=f"{path}: line {number}") from None
    return found
