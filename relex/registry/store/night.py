"""What the night decided, read from the files that its stages wrote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from relex.core import workspace
from relex.core.atomic import read_json
from relex.core.digest import json_sha256
from relex.core.errors import InputError


@dataclass(frozen=True)
class Winner:
    """The model that a decision promotes. kind: `candidate` or `observed`; step: the optimiser step it stands for."""

    name: str
    kind: str
    step: int | None
    folder: Path
    model_sha256: str


@dataclass(frozen=True)
class Decision:
    """metrics/decision.json, with the champion that its evaluation competed with.

    winner: None when nothing is promoted. competed_with: the champion's model_sha256, None when there was none.
    """

    outcome: str
    sentence: str
    winner: Winner | None
    competed_with: str | None
    sha256: str

    def passes(self, model_sha256: str | None) -> bool:
        """True when this decision promotes exactly this model."""
        return self.winner is not None and model_sha256 == self.winner.model_sha256


def read() -> Decision:
    """The decision as metrics/ says it, unproven (evidence.proven); InputError when it says nothing usable."""
    raw = read_json(workspace.DECISION)
    evaluation = read_json(workspace.EVALUATION_METRICS)
    try:
        promote, outcome = raw["promote"], raw["outcome"]
        models: dict[str, dict[str, Any]] = evaluation["models"]
        champions = [model["model_sha256"] for model in models.values() if model["kind"] == "champion"]
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            "not a decision with its evaluation", where=workspace.DECISION, found=f"missing {error}", todo="dvc repro"
        ) from None
    return Decision(
        outcome=str(outcome),
        sentence=str(raw.get("sentence", "")),
        winner=_winner(raw) if promote else None,
        competed_with=champions[0] if champions else None,
        sha256=json_sha256(raw),
    )


def _winner(raw: dict[str, Any]) -> Winner:
    name, folder, model = (raw.get(f"winner{part}") for part in ("", "_folder", "_model_sha256"))
    if not (isinstance(name, str) and isinstance(folder, str) and isinstance(model, str)):
        raise InputError(
            "the decision promotes a winner that it does not name",
            where=workspace.DECISION,
            expected="winner, winner_folder and winner_model_sha256",
        )
    return Winner(name, str(raw.get("winner_kind")), raw.get("winner_step"), inside_project(folder), model)


def inside_project(folder: str) -> Path:
    """`folder` as a relative path that stays inside the project; InputError for one that leaves it."""
    path = Path(folder)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise InputError("a path that leaves the project", where=folder, expected="a folder inside the project")
    return path


_REPORTED_FIRST = ("test", "ood")


class Accuracy(NamedTuple):
    """avg@k with its interval; name: the metric's, such as avg_at_8."""

    value: float
    low: float
    high: float
    name: str


def suites(evaluation: dict[str, Any]) -> list[str]:
    """The suites that any model was asked, test and ood first."""
    found = dict.fromkeys(suite for row in evaluation["metrics"].values() for suite in row)
    order = [suite for suite in _REPORTED_FIRST if suite in found]
    return order + [suite for suite in found if suite not in order]


def accuracy(evaluation: dict[str, Any], model: str, suite: str) -> Accuracy | None:
    """avg@k of a model on a suite, None when it was not asked."""
    for name, cell in evaluation["metrics"].get(model, {}).get(suite, {}).items():
        if name.startswith("avg_at_"):
            return Accuracy(cell["value"], cell["low"], cell["high"], name)
    return None
