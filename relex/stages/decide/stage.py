"""Stage decide: which model, if any, is proven better; written to metrics/decision.json.

The best candidates on the choosing part of validation meet the gate on the other part: a paired test against the last
observed checkpoint and the champion, and guards against loss elsewhere. When none passes, the last observed
checkpoint competes with the champion. The test split is not read.
"""

from __future__ import annotations

from typing import Any

from relex.core import workspace
from relex.core.atomic import read_json, write_json
from relex.core.errors import InputError
from relex.stages.decide.gate import Gate, Verdict, corrected_level
from relex.stages.decide.params import Decide
from relex.stages.decide.scores import Scores, load_scores
from relex.stages.decide.sentences import sentence
from relex.stages.decide.trust import marks, trust
from relex.stages.evaluate.schema import CHOOSE

_DIGITS = 6  # of the decision's shares
_OBSERVED, _BASE, _CHAMPION = "observed", "base", "champion"


def run(decide: Decide, seed: int) -> None:
    """Decide, and write metrics/decision.json. seed: the evaluation's."""
    decision = replay(decide, seed)
    write_json(workspace.DECISION, decision)
    print(decision["sentence"])


def replay(settings: Decide, seed: int) -> dict[str, Any]:
    """The decision that the evaluation's rows give, as metrics/decision.json holds it.

    Reads metrics/evaluate.json, metrics/diagnose.json and evaluation/rows. InputError when they do not belong together.
    """
    evaluation = read_json(workspace.EVALUATION_METRICS)
    diagnosis = read_json(workspace.DIAGNOSIS) if workspace.DIAGNOSIS.is_file() else None
    try:
        models, halving = evaluation["models"], evaluation["halving"]
        scores = load_scores(
            workspace.EVALUATION / "rows", {name: facts["model_sha256"] for name, facts in models.items()}
        )
        found = trust(diagnosis)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            "not an evaluation with its diagnosis", where=workspace.EVALUATION_METRICS, found=error, todo="dvc repro"
        ) from None
    decision = decision_of(models, scores, settings, seed)
    decision["trust"] = found
    decision["candidates"] += dropped(halving)
    for candidate in decision["candidates"]:
        candidate["beyond"] = marks(candidate["step"], found)
    decision["sentence"] = sentence(decision)
    return decision


def dropped(halving: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The candidates that successive halving left behind, as entries of the decision's `candidates`."""
    found = []
    for turn in reversed(halving["rounds"] if halving else []):
        out = sorted(set(turn["scores"]) - set(turn["kept"]), key=lambda name: (-turn["scores"][name], name))
        found += [
            {
                "name": name,
                "step": halving["candidates"][name]["step"] if halving else None,
                "choose": turn["scores"][name],
                "problems": turn["problems"],
                "finalist": False,
            }
            for name in out
        ]
    return found


def decision_of(models: dict[str, dict[str, Any]], scores: Scores, settings: Decide, seed: int) -> dict[str, Any]:
    """The decision as JSON, without its sentence.

    models: name -> kind, step, model_sha256, folder (metrics/evaluate.json). scores: right samples per model, suite
    and problem. settings: the section `decide` of params.yaml. seed: of the bootstrap.
    """
    champion = _CHAMPION if _CHAMPION in models else None
    ranked = sorted(
        (name for name, facts in models.items() if facts["kind"] == "candidate"),
        key=lambda name: (-scores.choose(name), models[name]["step"], name),
    )
    finalists = ranked[: settings.finalists]
    # Without a champion the base is what a promotion would replace.
    opponents = [_OBSERVED, champion or _BASE]
    level = corrected_level(settings.alpha, settings.finalists)
    gate = Gate(scores, settings, level, seed)
    identity = {name: facts["model_sha256"] for name, facts in models.items()}
    verdicts: list[Verdict] = []
    # Where RLVR moved nothing, or back to where it began, there is nothing to promote under another name.
    unchanged = {identity[name]: name for name in (_BASE, _CHAMPION) if name in models}
    for name in [*finalists, _OBSERVED]:
        others = [other for other in dict.fromkeys([*opponents, _BASE]) if other != name]
        same_as = [other for other in others if identity[other] == identity[name]]
        # The base is held against every night's winner: losses that each champion allowed itself would add up.
        guarded = [other for other in others if other not in same_as]
        met = [other for other in guarded if other in opponents]
        verdicts.append(gate.meet(name, met, guarded, same_as))
        if verdicts[-1].passed and unchanged.get(identity[name]) != _BASE:
            break
    last = verdicts[-1]
    outcome, winner = "keep-champion", champion
    if last.passed and identity[last.name] not in unchanged:
        outcome = "promote-observed" if last.name == _OBSERVED else "promote-candidate"
        winner = last.name
    facts = models[winner] if winner else {}
    problems = sum(len(scores.problems(suite)) for suite in scores.suites(CHOOSE))
    return {
        "outcome": outcome,
        "promote": outcome != "keep-champion",
        "winner": winner,
        "winner_kind": facts.get("kind"),
        "winner_step": facts.get("step"),
        "winner_folder": facts.get("folder"),
        "winner_model_sha256": facts.get("model_sha256"),
        "same_as_champion": bool(
            champion and identity[last.name] == identity[champion] and (last.passed or not last.tests)
        ),
        "chosen": {"finalists": finalists, "scores": {name: round(scores.choose(name), _DIGITS) for name in ranked}},
        "candidates": [
            {
                "name": name,
                "step": models[name]["step"],
                "choose": round(scores.choose(name), _DIGITS),
                "problems": problems,
                "finalist": name in finalists,
            }
            for name in ranked
        ],
        "alpha": settings.alpha,
        "tried": settings.finalists + 1,
        "level": level,
        "verdicts": [verdict.facts() for verdict in verdicts],
        "tests": [test for verdict in verdicts for test in verdict.tests],
        "guards": [guard for verdict in verdicts for guard in verdict.guards],
    }
