"""Stage decide: which model, if any, is proven better; written to metrics/decision.json.

The policy that `evaluate` generated rows for (relex/proof) is played again over those rows. The test split is not read.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relex.core import workspace
from relex.core.atomic import read_json, write_json
from relex.core.errors import InputError
from relex.proof.answers import Source
from relex.proof.level_over_nights import rules_at
from relex.proof.night import CHAMPION, CONTROL, OBSERVED, Ask, Player
from relex.proof.plan import Plan
from relex.proof.policy import Outcome, play
from relex.proof.race import Standing
from relex.proof.rounds import Room
from relex.proof.rules import Rules
from relex.proof.spending import Spending
from relex.stages.decide.scores import load_scores
from relex.stages.decide.sentences import OF_NIGHT, Words, sentence
from relex.stages.decide.trust import marks, trust

_DIGITS = 6  # of the decision's shares


@dataclass(frozen=True)
class Protocol:
    """What the models were asked: the suites, and the most of each part of the proof."""

    rooms: tuple[Room, ...]
    plan: Plan

    @classmethod
    def read(cls, evaluation: Mapping[str, Any]) -> Protocol:
        """From metrics/evaluate.json. KeyError, TypeError, ValueError or AttributeError where it is not one."""
        suites = evaluation["protocol"]["suites"]
        rooms = tuple(Room.read(name, facts) for name, facts in suites.items())
        return cls(rooms, Plan.read(evaluation["proof"]["plan"]))


def run(decide: Rules) -> None:
    """Decide, and write metrics/decision.json."""
    decision = replay(decide)
    write_json(workspace.DECISION, decision)
    print(decision["sentence"])


@dataclass(frozen=True)
class Places:
    """What a decision is made of: metrics/evaluate.json, the folder of the rows, and metrics/diagnose.json, if any.

    words: of its sentence.
    """

    evaluation: Path
    rows: Path
    diagnosis: Path
    words: Words = OF_NIGHT


NIGHT = Places(workspace.EVALUATION_METRICS, workspace.EVALUATION / "rows", workspace.DIAGNOSIS)


def replay(rules: Rules, places: Places = NIGHT) -> dict[str, Any]:
    """The decision that the evaluation's rows give, as metrics/decision.json holds it.

    InputError when the files do not belong together.
    """
    evaluation = read_json(places.evaluation)
    diagnosis = read_json(places.diagnosis) if places.diagnosis.is_file() else None
    try:
        models, protocol = evaluation["models"], Protocol.read(evaluation)
        hashes = {name: facts["model_sha256"] for name, facts in models.items()}
        found = trust(diagnosis)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(
            "not an evaluation with its diagnosis", where=places.evaluation, found=error, todo="dvc repro"
        ) from None
    scores = load_scores(places.rows, hashes)
    decision = decision_of(models, protocol, scores, rules)
    decision["trust"] = found
    for candidate in decision["candidates"]:
        candidate["beyond"] = [] if candidate.get("control") else marks(candidate["step"], found)
    if isinstance(diagnosis, dict) and "no_signal" in diagnosis:
        decision["no_signal"] = str(diagnosis["no_signal"])
    decision["sentence"] = sentence(decision, places.words)
    return decision


def players(models: Mapping[str, Mapping[str, Any]]) -> list[Player]:
    """models: name -> kind, step, model_sha256, control where it is one (metrics/evaluate.json)."""
    return [
        Player(name, CONTROL if facts.get("control") else facts["kind"], facts["step"], _identity(facts))
        for name, facts in models.items()
    ]


def _identity(facts: Mapping[str, Any]) -> str:
    """What a model was in the race; a candidate without a file became another when it was written."""
    return facts.get("raced_as", facts["model_sha256"])


def played(
    models: Mapping[str, Mapping[str, Any]], rooms: Iterable[Room], plan: Plan, source: Source, rules: Rules
) -> tuple[Outcome, Spending]:
    """The proof over rows that are all there, and what it asked."""
    identity = {name: _identity(facts) for name, facts in models.items()}
    spending = Spending()
    proof: Generator[Ask, None, Outcome] = play(players(models), rooms, plan, rules, source)
    while True:
        try:
            ask = next(proof)
        except StopIteration as end:
            return end.value, spending
        spending.add(ask.purpose, [identity[name] for name in ask.models], ask.asked)


def decision_of(
    models: Mapping[str, Mapping[str, Any]], protocol: Protocol, source: Source, rules: Rules
) -> dict[str, Any]:
    """The decision as JSON, without its sentence.

    models: name -> kind, step, model_sha256, folder (metrics/evaluate.json). source: the rows.
    """
    outcome, spending = played(models, protocol.rooms, protocol.plan, source, rules)
    rules = rules_at(rules, protocol.plan.look)
    winner = outcome.promoted or (CHAMPION if CHAMPION in models else None)
    result = "keep-champion"
    if outcome.promoted:
        result = "promote-observed" if outcome.promoted == OBSERVED else "promote-candidate"
    facts = models[winner] if winner else {}
    last = outcome.verdicts[-1]
    same = CHAMPION in models and models[last.name]["model_sha256"] == models[CHAMPION]["model_sha256"]
    return {
        "outcome": result,
        "promote": result != "keep-champion",
        "winner": winner,
        "winner_kind": facts.get("kind"),
        "winner_step": facts.get("step"),
        "winner_folder": facts.get("folder"),
        "winner_model_sha256": facts.get("model_sha256"),
        "same_as_champion": bool(same and (last.passed or not last.tests)),
        "chosen": {
            "leader": outcome.leader,
            "scores": {name: round(found.share, _DIGITS) for name, found in outcome.standings.items()},
        },
        "candidates": _candidates(models, outcome),
        "alpha": rules.alpha,
        "levels": {"leader": rules.alpha, "observed": rules.fallback_level, "ood": rules.ood_alpha},
        "verdicts": [verdict.facts() for verdict in outcome.verdicts],
        "tests": [test for verdict in outcome.verdicts for test in verdict.tests],
        "guards": [guard for verdict in outcome.verdicts for guard in verdict.guards],
        "spent": {purpose: spending.rows[purpose] for purpose in ("race", "gate", "guards")},
    }


def _candidates(models: Mapping[str, Mapping[str, Any]], outcome: Outcome) -> list[dict[str, Any]]:
    """The leader, then those that stayed longest, then by their share. Where controls raced, they say so, and the
    others whether they are credibly better than each of them."""

    def rank(item: tuple[str, Standing]) -> tuple[Any, ...]:
        name, found = item
        return name != outcome.leader, -(found.left or 10**6), -found.share, models[name]["step"], name

    raced = {name: found for name, found in outcome.standings.items() if models[name]["kind"] == "candidate"}
    return [
        {
            "name": name,
            "step": models[name]["step"],
            "choose": round(found.share, _DIGITS),
            "low": round(found.low, _DIGITS),
            "high": round(found.high, _DIGITS),
            "problems": found.problems,
            "samples": found.samples,
            "finalist": name == outcome.leader,
            "left": found.left,
            **({"control": True} if models[name].get("control") else {}),
            **({"beats_control": outcome.beats_controls[name]} if name in outcome.beats_controls else {}),
        }
        for name, found in sorted(raced.items(), key=rank)
    ]
