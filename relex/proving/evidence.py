"""What a proof's folder says, believed only as far as its own rows and the checkpoint bear it out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relex.checkpoints.digest import model_sha256
from relex.core.atomic import read_json
from relex.core.errors import CorruptArtifact, InputError
from relex.proof.rules import Rules
from relex.proving.folder import ProofFolder
from relex.proving.wording import said_in_options
from relex.stages.decide import stage as decide
from relex.stages.decide.stage import Places


@dataclass(frozen=True)
class Evidence:
    """The files of a proof that hold together: prove.json, evaluate.json, decision.json as JSON."""

    request: dict[str, Any]
    evaluation: dict[str, Any]
    decision: dict[str, Any]


def proven(folder: ProofFolder) -> Evidence:
    """What stands in the folder, once the rows give the very same decision again, of the models that were asked for,
    and the winner's checkpoint still hashes to what was proven.

    InputError or CorruptArtifact where they do not: nothing may be registered then.
    """
    with said_in_options():
        return _proven(folder)


def _proven(folder: ProofFolder) -> Evidence:
    _check_there(folder)
    request, evaluation, written = (read_json(path) for path in (folder.request, folder.evaluation, folder.decision))
    try:
        rules = Rules.model_validate(request["decide"])
        keys = ("kind", "step", "model_sha256")
        models = {name: {key: facts[key] for key in keys} for name, facts in evaluation["models"].items()}
        suites = {name: facts["sha256"] for name, facts in evaluation["protocol"]["suites"].items()}
        asked = (request["models"], request["suites"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(
            "not the folder of a proof", where=folder.root, found=error, todo="give the --out of a `relex prove`"
        ) from None
    if (models, suites) != asked:
        raise CorruptArtifact("the evaluation is of other models or problems than were asked for", where=folder.root)
    again = replayed(written, rules, folder.decided, folder.decision, "the same `relex prove` again decides again")
    if again["promote"]:
        _check_unchanged(Path(again["winner_folder"]), again["winner_model_sha256"])
    return Evidence(request, evaluation, again)


def _check_there(folder: ProofFolder) -> None:
    """InputError for a folder that is not there, is no proof's, or of a proof that did not come to its end."""
    needed = (folder.request, folder.evaluation, folder.decision, folder.rows)
    missing = [path.name for path in needed if not path.exists()]
    if missing:
        begun = folder.request.is_file()
        raise InputError(
            "the proof in this folder did not come to its end" if begun else "not the folder of a proof",
            where=folder.root,
            expected="what `relex prove --out FOLDER` writes: prove.json, rows/, evaluate.json, decision.json",
            found=f"no {', '.join(missing)}" if folder.root.is_dir() else "no such folder",
            todo="call the same `relex prove` again: it goes on" if begun else "give the --out of a `relex prove`",
        )


def replayed(written: dict[str, Any], rules: Rules, places: Places, where: Path, todo: str) -> dict[str, Any]:
    """The decision that the rows give, as JSON, once it is the one that was `written`; else CorruptArtifact.

    where: the file that it was read from. todo: what makes it anew.
    """
    again: dict[str, Any] = json.loads(json.dumps(decide.replay(rules, places), allow_nan=False))
    if written != again:
        differing = sorted(key for key in written.keys() | again.keys() if written.get(key) != again.get(key))
        raise CorruptArtifact(
            "the decision is not what the rows give",
            where=f"{where}: {', '.join(differing)}",
            expected=again["sentence"],
            found=written.get("sentence"),
            todo=todo,
        )
    return again


def _check_unchanged(winner: Path, expected: str) -> None:
    if not winner.is_dir():
        raise InputError("the winner's folder is gone", where=winner, todo="put it back, then relex register")
    if (found := model_sha256(winner)) != expected:
        raise CorruptArtifact(
            "the model changed after it was proven",
            where=winner,
            expected=f"model {expected[:12]}",
            found=f"model {found[:12]} (weights, configuration and tokenizer together)",
            todo="put the proven files back, or prove the new ones into another folder",
        )
