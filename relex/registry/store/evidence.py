"""What a decision rests on, looked at again: the files as DVC recorded them, and the decision as the rows give it.

metrics/decision.json is a file that anybody can edit. Nothing is registered or promoted on its word: whoever forges it
would have to forge the rows, the metrics and dvc.lock too, in a way that the policy decides alike.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from relex.core import workspace
from relex.core.atomic import read_json, scratch_folder
from relex.core.errors import CorruptArtifact, InputError
from relex.params.load import Params
from relex.proof.rules import Rules
from relex.registry.store import dvc_lock, dvc_objects, night
from relex.registry.store.night import Decision
from relex.stages.decide import stage as decide
from relex.stages.decide.scores import load_scores

# The winner's is looked at through its model_sha256; the others reach no registry, and may be hundreds of gigabytes.
_LARGE = {
    path.as_posix()
    for path in (
        workspace.BASE,
        workspace.TRAJECTORY,
        workspace.COMPLETIONS,
        workspace.CANDIDATES,
        workspace.OBSERVED,
    )
}
_ROWS = workspace.EVALUATION / "rows"
ROWS = "proof/rows"  # of a proof without a night: beside the weights of its version
NO_NIGHT = "relex prove, on folders that it was given: no DVC run stands behind it"


def proven(params: Params) -> Decision:
    """The decision that stands in metrics/, once every file that it rests on, or that the registry keeps of the night,
    is the one in dvc.lock, and the rows give the very same decision again.

    InputError or InputErrors where they are not: nothing may be registered or promoted then.
    """
    decision = night.read()
    required = [workspace.DECISION, workspace.EVALUATION_METRICS, workspace.EVALUATION]
    kept = [Path(name) for name in dvc_lock.recorded() if name not in _LARGE]
    dvc_lock.check(dict.fromkeys([*required, *(path for path in kept if path.exists())]))
    written, again = read_json(workspace.DECISION), _as_json(decide.replay(params.decide))
    if written != again:
        differing = sorted(key for key in written.keys() | again.keys() if written.get(key) != again.get(key))
        raise CorruptArtifact(
            "the decision is not what the rows give",
            where=f"{workspace.DECISION}: {', '.join(differing)}",
            expected=again["sentence"],
            found=written.get("sentence"),
            todo="`dvc repro` decides again; after a change of `decide` in params.yaml too",
        )
    return decision


def policy(params: Params) -> dict[str, Any]:
    """What replays the standing decision from its rows alone, for the lineage: rules, models, and, as
    metrics/evaluate.json has them, the suites and the plan."""
    return policy_of(params.decide.model_dump(mode="json"), read_json(workspace.EVALUATION_METRICS))


def policy_of(rules: dict[str, Any], evaluation: dict[str, Any]) -> dict[str, Any]:
    """The same of any rules and evaluation (metrics/evaluate.json)."""
    return {
        "rules": rules,
        "models": evaluation["models"],
        "protocol": {"suites": evaluation["protocol"]["suites"]},
        "proof": {"plan": evaluation["proof"]["plan"]},
    }


def replay(lineage: dict[str, Any]) -> None:
    """Decide again on the rows that a version was registered with, out of DVC by their hash; errors as replay_rows."""
    _kept(lineage)
    try:
        rows = lineage["dvc"][workspace.EVALUATION.as_posix()]
    except (KeyError, TypeError) as error:
        raise _unclear(lineage, error) from None
    with scratch_folder(workspace.STATE, "replay") as temporary:
        folder = temporary / "evaluation"
        dvc_objects.get(rows, folder)
        replay_rows(lineage, folder / _ROWS.name)


def replay_rows(lineage: dict[str, Any], rows: Path) -> None:
    """Decide again on the rows in a folder, which are those that a version was registered with.

    InputError unless they promote exactly the version's model; also where an earlier release decided by other rules,
    for nothing here could say again what they gave.
    """
    expected = lineage["model_sha256"]
    rules, models, protocol = _kept(lineage)
    scores = load_scores(rows, {name: facts["model_sha256"] for name, facts in models.items()})
    again = decide.decision_of(models, protocol, scores, rules)
    if again["winner_model_sha256"] != expected or not again["promote"]:
        raise CorruptArtifact(
            "the rows that it was registered with do not promote it",
            where=f"model {expected[:12]}, rows sha256 {lineage['evaluation']['rows_sha256']}",
            expected="promote",
            found=again["outcome"],
        )


def _kept(lineage: dict[str, Any]) -> tuple[Rules, dict[str, Any], decide.Protocol]:
    """Rules, models and protocol of a version's decision."""
    where = f"model {lineage['model_sha256'][:12]}"
    try:
        kept = lineage["decision"]["policy"]
        if "rules" not in kept:
            raise InputError(
                "it was decided by the rules of an earlier release, which this one cannot play again",
                where=where,
                expected="rules, plan and suites in its lineage",
                found=f"{', '.join(sorted(kept))}",
                todo='let a night compare it, or promote it on your word: --force --reason "..."',
            )
        return Rules.model_validate(kept["rules"]), kept["models"], decide.Protocol.read(kept)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _unclear(lineage, error) from None


def _unclear(lineage: dict[str, Any], error: Exception) -> InputError:
    where = f"model {lineage['model_sha256'][:12]}"
    return InputError("its lineage does not say which rows decided", where=where, found=error)


def _as_json(value: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(value, allow_nan=False))
