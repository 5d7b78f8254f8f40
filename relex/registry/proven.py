"""Registering what `relex prove` decided: a version without a night or DVC, its rows beside its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from relex.core.digest import file_sha256, folder_sha256, json_sha256
from relex.core.errors import InputError
from relex.params.redact import redact, redacted
from relex.params.registry import Alone, Registry
from relex.proving.evidence import Evidence, proven
from relex.proving.folder import ProofFolder
from relex.registry import card
from relex.registry.register import challenge, create_version
from relex.registry.store import evidence, models, moves, runs, versions
from relex.registry.store.connection import connect, registry_errors
from relex.registry.store.facts import engine, licence_of, software
from relex.registry.store.night import Decision, Winner


def register_proof(registry: Registry, out: Path) -> str:
    """Register the winner of the proof in `out` as a version, once; whatever was killed, the same call goes on.

    Its weights are copied, whatever `registry.mode` says, and so are the rows, which a promotion replays. InputError or
    CorruptArtifact where the folder does not bear out its decision.
    """
    folder = ProofFolder(out)
    found = proven(folder)
    decision, alone = _decision(found), Alone(registry.model_copy(update={"mode": "copy"}))
    winner = decision.winner
    if winner is None:
        return f"nothing to register: {decision.outcome}. {decision.sentence}"
    facts = redacted(_lineage(folder, found, decision, winner))
    with registry_errors(alone):
        connection = connect(alone)
        moves.settle(connection)
        run = runs.log_proof(connection, decision, facts, found.evaluation, found.decision, folder)
        known = versions.by_model(connection, winner.model_sha256)
        if known:
            challenge(connection, known[0].number)
            same = known[0].lineage.get("decision_sha256") == decision.sha256
            other = "" if same else ", by another decision, which `relex promote` goes by"
            return f"already registered: {registry.model} version {known[0].number}{other}. Proof: run {run}"
        text = redact(card.of_proof(registry.model, facts, found.evaluation))
        beside = {evidence.ROWS: folder.rows}
        tokens = found.request["evaluate"]["max_tokens"]
        model_id = models.upload(connection, alone, run, winner.folder, facts, text, max_tokens=tokens, beside=beside)
        runs.attach_metrics(connection, run, model_id, found.evaluation, winner.name)
        version = create_version(connection, model_id, run, facts, "copy")
        return f"registered: {registry.model} version {version.number}. Proof: run {run}"


def _decision(found: Evidence) -> Decision:
    decision, winner = found.decision, None
    if decision["promote"]:
        winner = Winner(
            decision["winner"],
            decision["winner_kind"],
            decision["winner_step"],
            Path(decision["winner_folder"]),
            decision["winner_model_sha256"],
        )
    champions = [facts["model_sha256"] for facts in found.evaluation["models"].values() if facts["kind"] == "champion"]
    return Decision(
        outcome=decision["outcome"],
        sentence=decision["sentence"],
        winner=winner,
        competed_with=champions[0] if champions else None,
        sha256=json_sha256(decision),
    )


def _lineage(folder: ProofFolder, found: Evidence, decision: Decision, winner: Winner) -> dict[str, Any]:
    """As facts.gather has it for a night, as far as a proof knows; `proof` says that it is one, and of what."""
    evaluation = found.evaluation
    known = evaluation["models"]
    base = Path(known["base"]["folder"])
    return {
        "model_sha256": winner.model_sha256,
        "weights_sha256": known[winner.name]["weights_sha256"],
        "winner": winner.name,
        "kind": winner.kind,
        "step": winner.step,
        "artifact": {},
        "git": {"commit": None, "dirty": None},
        "params_sha256": None,
        "dvc_lock_sha256": None,
        "dvc": {},
        "base": {
            "source": {"kind": "folder", "path": base.name},
            "weights_sha256": known["base"]["weights_sha256"],
            "licence": licence_of(base),
        },
        "trajectory": {"sha256": None, "steps": [], "codec": None},
        "extrapolate": {},
        "fit_sha256": None,
        "evaluation": {
            "protocol_sha256": json_sha256(evaluation),
            "rows_sha256": folder_sha256(folder.rows),
            "engine": engine(evaluation),
        },
        "decision": {
            "sha256": decision.sha256,
            "outcome": decision.outcome,
            "sentence": decision.sentence,
            "competed_with": decision.competed_with,
            "policy": evidence.policy_of(found.request["decide"], evaluation),
        },
        "proof": {
            "origin": evidence.NO_NIGHT,
            "request_sha256": file_sha256(folder.request),
            "models": {
                name: {"folder": Path(facts["folder"]).name, **{key: facts[key] for key in _HASHES}}
                for name, facts in known.items()
            },
        },
        "spend": {},
        "software": software(),
        "example": _example(folder, winner.name),
    }


_HASHES = ("model_sha256", "weights_sha256")


def _example(folder: ProofFolder, name: str) -> str:
    """The first prompt that the winner was asked."""
    path = folder.rows / f"{name}.parquet"
    first = next(pq.ParquetFile(path).iter_batches(1, columns=["prompt"]), None)
    if first is None or not first.num_rows:
        raise InputError("the winner has no rows", where=path)
    return str(first.column("prompt")[0].as_py())
