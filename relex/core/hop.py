"""hop.json: what the present hop starts from, resolved once when it began, and read by the stages key by key.

A hop is the graph once. DVC holds each stage against the keys that it reads, so `dvc repro` reproduces the present hop
and begins none; relex/nights writes the file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from relex.core.atomic import read_json, write_json
from relex.core.digest import json_sha256
from relex.core.errors import InputError
from relex.core.section import Natural, Positive, Section
from relex.core.workspace import HOP

Mode = Literal["fresh", "reground", "continue"]
_SEAL = "sha256"
_BACK = "`git checkout hop.json` or `dvc exp apply` brings one back"


class Model(Section):
    """A registered model. version: its number; model_sha256: checkpoints.digest.model_sha256."""

    version: str
    model_sha256: str


class Checkpoint(Section):
    """A full checkpoint that another trainer wrote. path: relative to its run; sha256: checkpoints.digest's, of its
    weights."""

    step: Positive
    path: str
    sha256: str


class Training(Section):
    """Where this hop's training stands in its campaign.

    before: optimiser steps that the campaign took before this training began: the order of the data and the rollouts'
    seeds go on from there. grown: how many times it was let grow: by the length of the window of params.yaml, or by
    what another trainer had written since. checkpoints: that trainer's, by step; the window of this hop.
    """

    before: Natural = 0
    grown: Natural = 0
    checkpoints: tuple[Checkpoint, ...] = Field(default=(), exclude_if=lambda found: not found)


class Hop(Section):
    """The inputs of one hop.

    campaign: a number, and `of`, the hash of what may not change within one. night and hop: counted from 1, nights
    through all campaigns. mode: how it began. start: the model that the base is, None for `base.source`. champion: whom
    the proof meets, None for none. slice: which part of the fresh problems it is asked.
    """

    campaign: Positive = 1
    of: str | None = None
    night: Positive = 1
    hop: Positive = 1
    mode: Mode = "fresh"
    start: Model | None = None
    training: Training = Training()
    slice: Natural = 0
    champion: Model | None = None

    @property
    def name(self) -> str:
        """What its experiment in DVC is called."""
        return f"night-{self.night:04d}-hop-{self.hop}"

    @property
    def place(self) -> tuple[int, int, int]:
        """Campaign, night and hop."""
        return self.campaign, self.night, self.hop


def read(path: Path = HOP) -> Hop:
    """The present hop; InputError for a file that is missing, not a hop's, or was changed by hand."""
    if not path.exists():
        raise InputError("the file is missing", where=path, todo=_BACK)
    found: Any = read_json(path)
    if not isinstance(found, dict) or found.get(_SEAL) != _sealed(found)[_SEAL]:
        raise InputError(
            "not a hop as it was written: a key was changed by hand, or the file is of something else",
            where=path,
            todo=f"{_BACK}; what may be changed is in params.yaml",
        )
    try:
        facts = {key: value for key, value in found.items() if key != _SEAL}
        return Hop.model_validate_json(json.dumps(facts))  # in JSON mode a list is a tuple
    except ValidationError as error:
        raise InputError("not a hop of this release", where=path, found=error.errors()[0]["msg"]) from None


def write(hop: Hop, path: Path = HOP) -> None:
    """Make it the present one; all of it or nothing."""
    write_json(path, _sealed(hop.model_dump(mode="json")))


def _sealed(facts: dict[str, Any]) -> dict[str, Any]:
    """With the hash of the rest: a hop is resolved by the registry and the ledger, not by an editor."""
    kept = {key: value for key, value in facts.items() if key != _SEAL}
    return kept | {_SEAL: json_sha256(kept)}
