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
    evaluation = read_json(workspace.EVALUATION_METRICS)
    return {
        "rules": params.decide.model_dump(mode="json"),
        "models": evaluation["models"],
        "protocol": {"suites": evaluation["protocol"]["suites"]},
        "proof": {"plan": evaluation["proof"]["plan"]},
    }


def replay(lineage: dict[str, Any]) -> None:
    """Decide again on the rows that a version was registered with, out of DVC by their hash.

    InputError unless they promote exactly the version's model; also where an earlier release decided by other rules,
    for nothing here could say again what they gave.
    """
    decision, expected = lineage["decision"], lineage["model_sha256"]
    try:
        kept, rows = decision["policy"], lineage["dvc"][workspace.EVALUATION.as_posix()]
        if "rules" not in kept:
            raise InputError(
                "it was decided by the rules of an earlier release, which this one cannot play again",
                where=f"model {expected[:12]}",
                expected="rules, plan and suites in its lineage",
                found=f"{', '.join(sorted(kept))}",
                todo='let a night compare it, or promote it on your word: --force --reason "..."',
            )
        rules, models, protocol = Rules.model_validate(kept["rules"]), kept["models"], decide.Protocol.read(kept)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(
            "its lineage does not say which rows decided", where=f"model {expected[:12]}", found=error
        ) from None
    with scratch_folder(workspace.STATE, "replay") as temporary:
        folder = temporary / "evaluation"
        dvc_objects.get(rows, folder)
        scores = load_scores(folder / _ROWS.name, {name: facts["model_sha256"] for name, facts in models.items()})
        again = decide.decision_of(models, protocol, scores, rules)
    if again["winner_model_sha256"] != expected or not again["promote"]:
        raise CorruptArtifact(
            "the rows that it was registered with do not promote it",
            where=f"model {expected[:12]}, rows md5 {rows}",
            expected="promote",
            found=again["outcome"],
        )


def _as_json(value: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(value, allow_nan=False))
